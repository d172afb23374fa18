"""Pages for those who run the router: its health, its webhooks, who may sign in."""

import asyncio
import platform

from starlette.responses import Response

import personas
from router.dashboard.pages import Visit
from router.probes import dependencies
from router.records.entries import Which, deliveries_of

DELIVERIES = 100


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


async def webhooks(visit: Visit) -> Response:
    """Show the latest deliveries."""
    found = await deliveries_of(visit.services.store, visit.tenant, Which(), None, DELIVERIES)
    rows = [
        {
            "id": one.id,
            "at": one.received_at,
            "status": one.status,
            "event": one.event,
            "verdict": one.verdict,
            "because": one.because,
            "call_id": one.call_id,
            "attempt": one.attempt,
            "took_ms": sum(one.stages.values()) if one.stages else None,
            "body": dict(one.body),
        }
        for one in found.rows
    ]
    return visit.render("webhooks.html", rows=await visit.shown(rows, clear=False))


async def settings(visit: Visit) -> Response:
    """Show users, tokens and what was done."""
    accounts = visit.services.access.accounts
    users, tokens, deeds = await asyncio.gather(
        accounts.users(visit.tenant),
        accounts.tokens(visit.tenant),
        accounts.deeds(visit.tenant, 50),
    )
    return visit.render("settings.html", users=users, tokens=tokens, deeds=deeds)
