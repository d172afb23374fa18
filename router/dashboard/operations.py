"""The health of the router, for those who run it."""

import platform

from starlette.responses import Response

import personas
from router.dashboard.pages import Visit
from router.probes import dependencies


async def health(visit: Visit) -> Response:
    """Show what a call depends on, and what would trouble the next one."""
    services = visit.services
    return visit.render(
        "health.html",
        dependencies=await dependencies(services),
        asks_api=services.settings.api_base() is not None,
        breaker=services.lookup.breaker_state,
        shared=services.lookup.shared_well,
        in_flight=services.gate.in_flight,
        warnings=services.checkups.shown(),
        python=platform.python_version(),
        build=personas.__version__,
        agent=services.settings.agent_to_dispatch,
    )
