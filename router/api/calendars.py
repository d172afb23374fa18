"""`GET /api/calendars/{name}.ics`."""

from starlette.responses import Response

from router.api.endpoints import Ask
from router.tools.ics import calendar_file

KEPT_DAYS = 30


async def calendar(ask: Ask) -> Response:
    """Give the appointments of a built-in calendar, the last 30 days' and all to come."""
    services, name = ask.services, ask.path("name")
    since = services.clock() - KEPT_DAYS * 24 * 3600
    found = await services.appointments.upcoming(name, since=since, tenant=ask.tenant)
    return Response(calendar_file(name, found), media_type="text/calendar")
