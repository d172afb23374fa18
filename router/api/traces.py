"""`GET /api/calls/{id}/trace`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.api.access import stays_here
from router.api.problems import problem_of
from router.errors import StoreUnavailable
from router.records.trace import trace_of
from router.services import Services


async def trace(request: Request) -> Response:
    """Where the ring time of one call went."""
    services: Services = request.state.services
    if not stays_here(services.settings, request):
        fix = "ask from the router's machine: `persona-router explain --call ID`, or HOST=127.0.0.1"
        return problem_of(403, "Forbidden", "only_from_this_machine", fix)
    try:
        found = await trace_of(services.store, request.path_params["id"])
    except StoreUnavailable:
        return problem_of(503, "Service Unavailable", "database_away", "see DATABASE_URL")
    if found is None:
        fix = "call ids are in the log line call.dispatched; JOURNAL_DAYS says how long"
        return problem_of(404, "Not Found", "no_such_call", fix)
    return JSONResponse(found.document())
