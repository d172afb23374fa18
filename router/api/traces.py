"""`GET /api/calls/{id}/trace`."""

from starlette.responses import JSONResponse, Response

from router.api.endpoints import Ask
from router.errors import RequestRefused
from router.records.trace import trace_of


async def trace(ask: Ask) -> Response:
    """Where the ring time of one call went."""
    found = await trace_of(ask.services.store, ask.path("id"), ask.tenant)
    if found is None:
        fix = "call ids are in the log line call.dispatched; JOURNAL_DAYS says how long"
        raise RequestRefused("no_such_call", status=404, fix=fix)
    return JSONResponse(found.document())
