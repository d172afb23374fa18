"""The first page: what goes on now, the figures of a day, what troubles calls to come."""

from typing import Final

from starlette.responses import Response

from router.dashboard.alerts import MEANINGS, of_hooks, shown
from router.dashboard.pages import Visit
from router.records.archive import CallFilter
from router.records.entries import raised

ROWS: Final = 10


async def overview(visit: Visit) -> Response:
    """Show it."""
    services, tenant = visit.services, visit.tenant
    active = await services.calls.page(CallFilter(tenant=tenant, is_open=True), None, 50)
    latest = await services.calls.page(CallFilter(tenant=tenant, is_open=False), None, ROWS)
    figures = await services.figures.of(tenant)
    alerts = await raised(services.store, tenant, figures.since, MEANINGS)
    off = of_hooks(await services.hooks.all(tenant), figures.since)
    return visit.render(
        "overview.html",
        active=await visit.shown([row.cells() for row in active.rows], clear=False),
        more_active=active.next is not None,
        latest=await visit.shown([row.cells() for row in latest.rows], clear=False),
        figures=figures,
        since=round(figures.since),
        alerts=[*shown(alerts), *off],
        raised=sum(one.times for one in alerts) + len(off),
        warnings=services.checkups.shown(),
        now=services.clock(),
    )
