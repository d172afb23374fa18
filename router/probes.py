"""What those who watch over a router ask of it: its life, its readiness, its counts, its build."""

import asyncio
import platform
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import personas
from personas.lookup import PersonaLookup
from router.errors import LiveKitUnavailable, StoreUnavailable
from router.services import Services

CHECK_TIMEOUT_S = 1.0


async def health(_request: Request) -> Response:
    """Answer as long as the process runs; no I/O."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Ask each dependency: without one of them a call could not be answered."""
    services: Services = request.state.services
    checks = await dependencies(services)
    well = all(check["ok"] for check in checks.values())
    document = {
        "status": "ready" if well else "unready",
        "checks": checks,
        "personas": _personas(services.lookup),
        "warnings": services.checkups.shown(),
    }
    return JSONResponse(document, 200 if well else 503)


async def dependencies(services: Services) -> dict[str, dict[str, Any]]:
    """Say of each dependency whether it answers."""
    database, livekit = await asyncio.gather(_database(services), _livekit(services))
    return {"database": database, "livekit": livekit}


def _personas(lookup: PersonaLookup) -> dict[str, Any]:
    """Say what is good to know, and no reason to send calls elsewhere: copies answer."""
    shared = {None: "off", True: "reached", False: "away"}[lookup.shared_well]
    return {"breaker": lookup.breaker_state, "redis": shared}


async def _database(services: Services) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await services.store.read(lambda connection: connection.execute(text("SELECT 1")))
    except (StoreUnavailable, TimeoutError) as exc:
        reason = exc.reason if isinstance(exc, StoreUnavailable) else "timeout"
        return {"ok": False, "reason": reason, "fix": "see DATABASE_URL and the disk"}
    return {"ok": True}


async def _livekit(services: Services) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await services.livekit.ping()
    except (LiveKitUnavailable, TimeoutError) as exc:
        reason = exc.reason if isinstance(exc, LiveKitUnavailable) else "timeout"
        return {"ok": False, "reason": reason, "fix": "see LIVEKIT_URL and LIVEKIT_API_KEY"}
    return {"ok": True}


async def metrics_page(request: Request) -> Response:
    """Prometheus' text format."""
    services: Services = request.state.services
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def version(_request: Request) -> Response:
    """Which build answers."""
    return JSONResponse({"version": personas.__version__, "python": platform.python_version()})
