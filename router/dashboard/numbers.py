"""Who would answer a number: what `explain` says, on a page."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from router.dashboard.pages import Visit
from router.errors import RequestRefused
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
        _check_owner(visit, chain)
    return visit.render("who.html", which=asked, chain=chain)


def _check_owner(visit: Visit, chain: Mapping[str, Any]) -> None:
    """Refuse to show the persona of another tenant's number."""
    if visit.services.numbers.tenant_of(chain.get("dialed_number")) != visit.tenant:
        fix = "it is none of your numbers; GET /api/numbers lists them"
        raise RequestRefused("no_such_number", status=404, fix=fix)
