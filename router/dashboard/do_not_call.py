"""Who must not be called: search, add, remove, import."""

from dataclasses import asdict
from typing import Final

from starlette.responses import Response

from router.api.calls import bad_cursor
from router.api.do_not_call import (
    NewEntry,
    WhichEntries,
    WhichEntry,
    add_wish,
    e164,
    import_wishes,
    remove_wish,
)
from router.api.endpoints import read_as
from router.dashboard.pages import Visit, to
from router.errors import BadCursor, RequestRefused
from router.number_lists import MAX_BYTES
from router.records.do_not_call import campaign_scope

_FIELDS: Final = ("number", "campaign_id", "reason")


async def list_entries(visit: Visit) -> Response:
    """Show a page of entries, the latest first."""
    asked: WhichEntries = visit.query
    number = e164(visit, asked.number) if asked.number else None
    scope = campaign_scope(asked.campaign_id) if asked.campaign_id else None
    try:
        page = await visit.services.do_not_call.page(
            visit.tenant, number=number, scope=scope, cursor=asked.cursor, limit=asked.limit
        )
    except BadCursor:
        raise bad_cursor() from None
    clear = asked.numbers == "clear"
    known = await visit.services.campaigns.list(visit.tenant)
    return visit.render(
        "dnc.html",
        rows=await visit.shown([asdict(one) for one in page.rows], clear=clear),
        following=page.next,
        which=asked,
        clear=clear,
        campaigns=[one.campaign for one in known],
        twin=asked.model_dump(exclude_none=True, exclude_unset=True, exclude={"format"}),
    )


async def add(visit: Visit) -> Response:
    """Put a number on the list."""
    filled = {name: visit.form[name] for name in _FIELDS if visit.form.get(name)}
    await add_wish(visit, read_as(NewEntry, filled, "form"))
    return to("/dnc")


async def remove(visit: Visit) -> Response:
    """Take a number off the list."""
    filled = {name: visit.form[name] for name in _FIELDS[:2] if visit.form.get(name)}
    await remove_wish(visit, read_as(WhichEntry, filled, "form"))
    return to("/dnc?numbers=clear")


async def import_file(visit: Visit) -> Response:
    """Put the numbers of a CSV file on the list, and say how many."""
    if visit.sent is None or not visit.sent.name:
        raise RequestRefused("no_file", status=422, fix="choose a file")
    if len(visit.sent.raw) > MAX_BYTES:
        fix = f"send at most {MAX_BYTES // 1024 // 1024} MiB; split the list"
        raise RequestRefused("too_large", status=413, fix=fix)
    done = await import_wishes(visit, visit.sent.raw, visit.form.get("campaign_id") or None)
    return visit.render("dnc_imported.html", done=done)
