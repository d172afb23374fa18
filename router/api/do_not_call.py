"""Who must not be called: list, add, remove, import."""

from dataclasses import asdict, fields
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.logs import masked
from personas.phone import parse
from router.access import permit
from router.api.calls import Listing, bad_cursor, listed
from router.api.endpoints import Ask, Asking, csv_body, note
from router.errors import BadCursor, RequestRefused
from router.number_lists import MAX_BYTES, read_numbers
from router.principals import DEFAULT_TENANT
from router.records.do_not_call import EVERYWHERE, OF_TENANT, Entry, Source, campaign_scope

MAX_REPORTED: Final = 100  # lines in an answer
Number = Annotated[str, Field(min_length=1, max_length=64)]
CampaignId = Annotated[
    str | None, Field(min_length=1, max_length=100, description="for one campaign alone")
]
Everywhere = Annotated[
    bool, Field(description="for every tenant: needs an admin of the tenant `default`")
]


class WhichEntries(Listing):
    """Which entries; what is left out does not matter."""

    number: Annotated[str | None, Field(max_length=64)] = None
    campaign_id: CampaignId = None
    everywhere: Everywhere = False


class WhichEntry(BaseModel):
    """One entry."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    number: Number
    campaign_id: CampaignId = None
    everywhere: Everywhere = False


class NewEntry(WhichEntry):
    """A number that is not to be called, everywhere or for a campaign."""

    reason: Annotated[str, Field(max_length=1000)] = ""


class ForWhom(BaseModel):
    """For what the numbers of a list count."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    campaign_id: CampaignId = None
    everywhere: Everywhere = False


class EntryShown(BaseModel):
    """A number that is not called; times are Unix seconds."""

    number: str
    scope: str = Field(description="tenant, campaign:ID, or everywhere: of every tenant")
    since: float
    source: Source
    call_id: str | None = Field(description="the call in which it was asked for")
    reason: str


class EntriesShown(BaseModel):
    """A page of entries, the latest first."""

    items: list[EntryShown]
    next: str | None = Field(description="cursor of the next page")


class Added(BaseModel):
    """Whether it was not there yet."""

    added: bool


class Imported(BaseModel):
    """What has become of a list."""

    added: int
    known: int = Field(description="that were there already")
    bad: int = Field(description="lines without a number")
    bad_lines: list[int] = Field(description="the first hundred of them, counted from 1")


async def list_entries(ask: Ask) -> Response:
    """List who is not called."""
    asked: WhichEntries = ask.query
    number = None if asked.number is None else e164(ask, asked.number)
    everything = not (asked.campaign_id or asked.everywhere)
    scope = None if everything else _scope(ask, asked.campaign_id, everywhere=asked.everywhere)
    try:
        page = await ask.services.do_not_call.page(
            ask.tenant, number=number, scope=scope, cursor=asked.cursor, limit=asked.limit
        )
    except BadCursor:
        raise bad_cursor() from None
    columns = tuple(field.name for field in fields(Entry))
    return await listed(ask, [asdict(row) for row in page.rows], page.next, columns)


async def add_entry(ask: Ask) -> Response:
    """Put a number on the list; a wish that is there already stands."""
    wanted: NewEntry = ask.body
    return JSONResponse({"added": await add_wish(ask, wanted)})


async def remove_entry(ask: Ask) -> Response:
    """Take a number off the list."""
    await remove_wish(ask, ask.query)
    return Response(status_code=204)


async def import_entries(ask: Ask) -> Response:
    """Put the numbers of a CSV file on the list."""
    raw = await csv_body(ask.request, MAX_BYTES)
    done = await import_wishes(ask, raw, ask.query.campaign_id, everywhere=ask.query.everywhere)
    return JSONResponse(done.model_dump())


async def add_wish(asking: Asking, wanted: NewEntry) -> bool:
    """Put a number on the list; False: it was there. Raises RequestRefused: 422."""
    number = e164(asking, wanted.number)
    scope = _scope(asking, wanted.campaign_id, everywhere=wanted.everywhere)
    added = await asking.services.do_not_call.add(
        number, source="api", scope=scope, reason=wanted.reason, tenant=asking.tenant
    )
    await note(asking, "dnc.added", f"{scope} {masked(number)}")
    return added


async def remove_wish(asking: Asking, which: WhichEntry) -> None:
    """Take a number off the list; raises RequestRefused: 404 or 422."""
    number = e164(asking, which.number)
    scope = _scope(asking, which.campaign_id, everywhere=which.everywhere)
    if not await asking.services.do_not_call.remove(number, scope=scope, tenant=asking.tenant):
        fix = "GET /api/dnc lists them; a campaign's own entry needs its campaign_id"
        raise RequestRefused("no_such_entry", status=404, fix=fix)
    await note(asking, "dnc.removed", f"{scope} {masked(number)}")


async def import_wishes(
    asking: Asking, raw: bytes, campaign_id: str | None, *, everywhere: bool = False
) -> Imported:
    """Put the numbers of a CSV file on the list."""
    found = read_numbers(raw, asking.services.settings.default_region)
    scope = _scope(asking, campaign_id, everywhere=everywhere)
    added = await asking.services.do_not_call.add_all(
        found.numbers, source="csv", scope=scope, tenant=asking.tenant
    )
    await note(asking, "dnc.imported", scope)
    return Imported(
        added=added,
        known=len(found.numbers) - added,
        bad=len(found.bad_lines),
        bad_lines=list(found.bad_lines[:MAX_REPORTED]),
    )


def _scope(asking: Asking, campaign_id: str | None, *, everywhere: bool) -> str:
    if not everywhere:
        return campaign_scope(campaign_id) if campaign_id else OF_TENANT
    if campaign_id:
        raise RequestRefused("two_scopes", status=422, fix="send campaign_id, or everywhere")
    permit(asking.principal, "admin")
    if asking.tenant != DEFAULT_TENANT:
        fix = "a wish for every tenant is kept by an admin of the tenant default; leave it out"
        raise RequestRefused("not_yours", status=403, fix=fix)
    return EVERYWHERE


def e164(asking: Asking, written: str) -> str:
    """Read a number that somebody wrote; raises RequestRefused: 422."""
    number = parse(written, asking.services.settings.default_region)
    if number is None:
        fix = "send the number as E.164, or set DEFAULT_REGION"
        raise RequestRefused("number_unknown", status=422, fix=fix)
    return number.e164
