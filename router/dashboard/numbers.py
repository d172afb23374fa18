"""Our numbers with the persona of each, what changed in one, and who would answer a number."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from personas.logs import masked
from router.api.personas import HowShown, Versions, difference, rows_of
from router.api.purges import Purge, purged
from router.dashboard.pages import Visit, to
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


async def list_numbers(visit: Visit) -> Response:
    """Show numbers, who answers each, and what this router holds of them."""
    asked: HowShown = visit.query
    clear = asked.numbers == "clear"
    rows = await rows_of(visit.services, visit.tenant)
    return visit.render(
        "numbers.html",
        rows=await visit.shown(rows, clear=clear),
        clear=clear,
        breaker=visit.services.lookup.breaker_state,
        asks_api=visit.services.settings.api_base() is not None,
    )


async def show_difference(visit: Visit) -> Response:
    """Show what changed between two versions of a persona."""
    asked: Versions = visit.query
    diff = await difference(visit.services, visit.tenant, asked)
    lines = [
        {"kind": {"+": "added", "-": "gone"}.get(line[:1], ""), "text": line}
        for line in str(await visit.shown(diff, clear=False)).splitlines()
    ]
    return visit.render("difference.html", lines=lines, which=asked)


async def purge(visit: Visit) -> Response:
    """Forget the copies of one number's persona, or of all."""
    number = visit.form.get("number", "").strip()
    asked = Purge.model_validate({"number": number[:64]} if number else {"all": True})
    await purged(visit, asked)
    if visit.principal is not None:
        subject = str(masked(number)) if number else "all"
        await visit.services.access.accounts.note(visit.principal, "personas.purged", subject)
    return to("/numbers")


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
