"""`GET /api/calls` and `GET /api/calls/{id}`: records, as far as this machine's users may see."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.api.access import stays_here
from router.api.problems import problem_of
from router.errors import BadCursor, StoreUnavailable
from router.records.archive import MAX_PAGE, CallFilter
from router.services import Services


async def calls(request: Request) -> Response:
    """List calls, newest first: filters, `since` and `until` (Unix seconds), `limit`, `cursor`."""
    services: Services = request.state.services
    if (refused := _not_here(services, request)) is not None:
        return refused
    asked = request.query_params
    try:
        which = CallFilter(
            caller=asked.get("caller"),
            dialed_number=asked.get("dialed_number"),
            persona_name=asked.get("persona_name"),
            disposition=asked.get("disposition"),
            qualification=asked.get("qualification"),
            campaign_id=asked.get("campaign_id"),
            direction=asked.get("direction"),
            since=float(asked["since"]) if "since" in asked else None,
            until=float(asked["until"]) if "until" in asked else None,
        )
        limit = int(asked.get("limit", "50"))
    except ValueError:
        fix = f"since and until are Unix seconds, limit is a number up to {MAX_PAGE}"
        return problem_of(400, "Bad Request", "bad_filter", fix)
    try:
        page = await services.calls.page(which, asked.get("cursor"), limit)
    except BadCursor:
        fix = "send `next` of the page before, or no cursor"
        return problem_of(400, "Bad Request", "bad_cursor", fix)
    except StoreUnavailable:
        return _away()
    return JSONResponse({"calls": [asdict(row) for row in page.rows], "next": page.next})


async def call(request: Request) -> Response:
    """Give one call: its record, what was said, what was told, and everything that was reported."""
    services: Services = request.state.services
    if (refused := _not_here(services, request)) is not None:
        return refused
    call_id = request.path_params["id"]
    try:
        record = await services.calls.get(call_id)
        if record is None:
            fix = "GET /api/calls lists them; RECORDS_DAYS says how long they are kept"
            return problem_of(404, "Not Found", "no_such_call", fix)
        timeline = await services.calls.timeline(call_id)
        facts = await services.calls.facts_so_far(call_id)
    except StoreUnavailable:
        return _away()
    told: list[dict[str, Any]] = [event.model_dump() for event in timeline]
    return JSONResponse(
        {
            "call": asdict(record),
            "transcript": [event for event in told if event["kind"] == "turn"],
            "facts": [asdict(fact) for fact in facts],
            "events": told,
        }
    )


def _not_here(services: Services, request: Request) -> Response | None:
    if stays_here(services.settings, request):
        return None
    fix = "ask from the router's machine, with HOST=127.0.0.1"
    return problem_of(403, "Forbidden", "only_from_this_machine", fix)


def _away() -> Response:
    return problem_of(503, "Service Unavailable", "database_away", "see DATABASE_URL")
