"""Who would answer a number: what `explain` says, on a page."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from router.dashboard.pages import Visit
from router.rehearsals import who_answers

PER_MINUTE: Final = 30  # each may ask the persona API

Text = Annotated[str, Field(max_length=200)]


class Which(BaseModel):
    """The call that is made up."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    number: Text = ""
    caller: Text = ""
    trunk: Text = ""


async def who(visit: Visit) -> Response:
    """Show the form and, where a number is given, the chain from it to a persona."""
    asked: Which = visit.query
    chain = None
    if asked.number and visit.principal is not None:
        await visit.services.access.limit("/who", PER_MINUTE, visit.principal)
        chain = await who_answers(
            visit.services.settings, asked.number, caller=asked.caller, trunk_id=asked.trunk
        )
    return visit.render("who.html", which=asked, chain=chain)
