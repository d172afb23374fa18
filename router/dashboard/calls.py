"""The list of calls and one call whole."""

from collections import defaultdict
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final, Literal

from starlette.responses import Response

from personas.contract import RESERVED_KEY
from router.api.calls import WhichCalls, WhichNumbers, recording_of
from router.dashboard.pages import Visit
from router.errors import BadCursor, RequestRefused
from router.records.archive import CallFilter, CallRecord
from router.records.entries import Which, deliveries_of
from router.records.persona_uses import snapshots_of
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
        rows=await visit.shown([row.cells() for row in page.rows], clear=clear),
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
    deliveries: list[dict[str, Any]] = []
    sent = None
    if visit.principal is not None and visit.principal.may("operator"):
        sent = await _sent(visit, record)
        deliveries = await _deliveries(visit, call_id)
    document = {
        "sent": sent,
        "call": record.cells(),
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
        recording=await recording_of(visit, call_id),
        sent=shown["sent"],
        deliveries=deliveries,
        longest=max([s["ms"] or 0 for s in (trace.document()["stages"] if trace else [])] or [0]),
        clear=clear,
        now=visit.services.clock(),
    )


async def _sent(visit: Visit, record: CallRecord) -> dict[str, Any] | None:
    """Return the metadata that the agent was sent last, as far as it is kept: no token."""
    found = await snapshots_of(visit.services.store, [record.persona_version or ""])
    persona = found.get(record.persona_version or "")
    if persona is None:
        return None
    about = {
        "call_id": record.call_id,
        "direction": record.direction,
        "room": record.room,
        "dialed_number": record.dialed_number,
        "caller": record.caller,
        "attempt": record.attempts,
        "origin": {
            "source": record.persona_origin,
            "version": record.persona_version,
            "because": record.persona_because,
        },
    }
    return {**persona.document, RESERVED_KEY: about}


async def _deliveries(visit: Visit, call_id: str) -> list[dict[str, Any]]:
    """Return the deliveries that a call can be decided on again by."""
    found = await deliveries_of(visit.services.store, visit.tenant, Which(call_id=call_id))
    return [
        {"id": one.id, "at": one.received_at, "verdict": one.verdict}
        for one in found.rows
        if one.again is not None
    ]


async def _record(visit: Visit) -> CallRecord:
    record = await visit.services.calls.get(str(visit.request.path_params["id"]), visit.tenant)
    if record is None:
        fix = "look for it among the calls; RECORDS_DAYS says how long they are kept"
        raise RequestRefused("no_such_call", status=404, fix=fix)
    return record
