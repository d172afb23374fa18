"""`GET /api/calendars/{name}.ics`."""

from starlette.requests import Request
from starlette.responses import Response

from router.api.access import stays_here
from router.api.problems import problem_of
from router.errors import StoreUnavailable
from router.services import Services
from router.tools.ics import calendar_file

KEPT_DAYS = 30


async def calendar(request: Request) -> Response:
    """Give the appointments of a built-in calendar, the last 30 days' and all to come."""
    services: Services = request.state.services
    if not stays_here(services.settings, request):
        fix = "ask from the router's machine, with HOST=127.0.0.1"
        return problem_of(403, "Forbidden", "only_from_this_machine", fix)
    name = request.path_params["name"]
    since = services.clock() - KEPT_DAYS * 24 * 3600
    try:
        found = await services.appointments.upcoming(name, since=since)
    except StoreUnavailable:
        return problem_of(503, "Service Unavailable", "database_away", "see DATABASE_URL")
    return Response(calendar_file(name, found), media_type="text/calendar")
