"""The list of calls and one call whole."""

from collections import defaultdict
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final, Literal

from starlette.responses import Response

from router.api.calls import WhichCalls, WhichNumbers
from router.dashboard.pages import Visit
from router.errors import BadCursor, RequestRefused
from router.records.archive import CallFilter, CallRecord
from router.records.trace import trace_of

_PERIODS: Final = MappingProxyType({"hour": 3600, "day": 86_400, "week": 7 * 86_400})
_FILTERS: Final = (
    "caller",
    "dialed_number",
    "persona_name",
    "disposition",
    "qualification",
    "campaign_id",
    "direction",
)


class WhichRows(WhichCalls):
    """Which calls: as the API takes them, and a while that ends now."""

    within: Literal["hour", "day", "week"] | None = None


async def list_calls(visit: Visit) -> Response:
    """Show a page of calls, the latest first."""
    asked: WhichRows = visit.query
    since = asked.since
    if asked.within is not None:
        since = round(visit.services.clock()) - _PERIODS[asked.within]
    which = CallFilter(
        **{name: getattr(asked, name) for name in _FILTERS},
        is_open=asked.open,
        since=since,
        until=asked.until,
        tenant=visit.tenant,
    )
    try:
        page = await visit.services.calls.page(which, asked.cursor, asked.limit)
    except BadCursor:
        fix = "go back to the first page"
        raise RequestRefused("bad_cursor", status=422, fix=fix) from None
    clear = asked.numbers == "clear"
    twin = asked.model_dump(exclude_none=True, exclude_unset=True, exclude={"within"})
    if since is not None:
        twin["since"] = since
    if "open" in twin:
        twin["open"] = str(twin["open"]).lower()
    return visit.render(
        "calls.html",
        rows=await visit.shown([asdict(row) for row in page.rows], clear=clear),
        following=page.next,
        which=asked,
        clear=clear,
        twin=twin,
        now=visit.services.clock(),
        filtered=bool(twin.keys() - {"numbers", "cursor", "limit"}),
    )


async def show_call(visit: Visit) -> Response:
    """Show one call: stages, persona, transcript, facts, and all that was reported."""
    asked: WhichNumbers = visit.query
    record = await _record(visit)
    records, call_id = visit.services.calls, record.call_id
    events = [event.model_dump() for event in await records.timeline(call_id)]
    facts = [asdict(fact) for fact in await records.facts_so_far(call_id)]
    trace = await trace_of(visit.services.store, call_id, visit.tenant)
    clear = asked.numbers == "clear"
    document = {
        "call": asdict(record),
        "events": events,
        "facts": facts,
        "trace": trace.document() if trace else None,
    }
    shown = await visit.shown(document, clear=clear)
    by_category: dict[str, list[Any]] = defaultdict(list)
    for fact in shown["facts"]:
        by_category[fact["category"]].append(fact)
    return visit.render(
        "call.html",
        call=shown["call"],
        turns=[event for event in shown["events"] if event["kind"] == "turn"],
        events=[event for event in shown["events"] if event["kind"] != "turn"],
        personas=[event for event in shown["events"] if event["kind"] == "persona_applied"],
        by_category=dict(by_category),
        trace=shown["trace"],
        longest=max([s["ms"] or 0 for s in (trace.document()["stages"] if trace else [])] or [0]),
        clear=clear,
        now=visit.services.clock(),
    )


async def _record(visit: Visit) -> CallRecord:
    record = await visit.services.calls.get(str(visit.request.path_params["id"]), visit.tenant)
    if record is None:
        fix = "look for it among the calls; RECORDS_DAYS says how long they are kept"
        raise RequestRefused("no_such_call", status=404, fix=fix)
    return record
