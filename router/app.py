"""The ASGI application: routes and lifespan."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from router.answers import SHED
from router.api.feed import Feed
from router.api.openapi import document
from router.api.reports import report
from router.api.stream import EVENTS
from router.api.table import ENDPOINTS
from router.api.tools import run_tool
from router.api.unserved import apologise, refuse
from router.bodies import BODY_S
from router.dashboard import assets
from router.dashboard.table import PAGES
from router.garbage import Collector
from router.headers import with_headers
from router.lead_files import read_lead_files
from router.metrics import Metrics
from router.probes import health, metrics_page, ready, version
from router.services import State, open_services
from router.settings import RouterSettings
from router.webhook import WebhookEndpoint

log = structlog.get_logger(__name__)

WEBHOOK_PATH = "/livekit-webhook"
WEBHOOK = WebhookEndpoint()
NEVER_SHED = frozenset({"/health", "/healthz", "/readyz"})  # who asks them would stop us
API_PREFIXES = ("/api", "/api/agentic")  # existing clients call the second


async def openapi(_request: Request) -> Response:
    """Describe the API."""
    return JSONResponse(document(ENDPOINTS, API_PREFIXES[0], (EVENTS,)))


ROUTES = [
    Route(WEBHOOK_PATH, WEBHOOK),
    Route("/health", health),
    Route("/healthz", health),
    Route("/readyz", ready),
    Route("/metrics", metrics_page),
    Route("/version", version),
    Route("/openapi.json", openapi),
    EVENTS.route(),
    *(endpoint.route(prefix) for prefix in API_PREFIXES for endpoint in ENDPOINTS),
    Route("/api/calls/{id}/tools/{name}", run_tool, methods=["POST"]),
    Route("/api/reports", report, methods=["POST"]),
    *(page.route() for page in PAGES),
    Route(assets.PATH, assets.serve),
]


class Router(Starlette):
    """Starlette, past which a webhook delivery goes: its time is ring time.

    While there are many of those, all else is refused but the questions whether we are well.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"] == WEBHOOK_PATH:
            await WEBHOOK(scope, receive, send)
        elif scope["type"] == "http" and _shed(scope):
            for message in SHED.messages:
                await send(message)
        elif scope["type"] == "http":
            await super().__call__(scope, receive, with_headers(send))
        else:
            await super().__call__(scope, receive, send)


def _shed(scope: Scope) -> bool:
    if scope["path"] in NEVER_SHED:
        return False
    return cast("State", scope["state"])["services"].gate.loaded


def build_app(
    settings: RouterSettings,
    clock: Callable[[], float] = time.time,
    *,
    metrics: Metrics | None = None,
    body_s: float = BODY_S,
    owns_process: bool = False,
) -> Starlette:
    """Return the application; its lifespan opens and closes all that it needs.

    *owns_process*: nobody else minds when garbage is collected.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        opened = open_services(settings, clock, metrics=metrics, body_s=body_s)
        async with opened as services, services.checkups:
            log.info(
                "router.started",
                agent=settings.agent_to_dispatch,
                persona_api=bool(settings.api_base()),
                default_region=settings.default_region,
            )
            gate = services.gate
            feed = Feed(services.outbox, busy=lambda: gate.loaded)
            tasks = {
                asyncio.create_task(feed.run()),
                asyncio.create_task(services.journal.run()),
                asyncio.create_task(services.inbound.owed.run()),
                asyncio.create_task(services.watch.run()),
                asyncio.create_task(services.bookkeeping.run()),
                asyncio.create_task(services.sweeper.run()),
                asyncio.create_task(services.figures.run(busy=lambda: gate.loaded)),
                asyncio.create_task(services.recorder.run()),
                asyncio.create_task(services.notifier.run()),
                asyncio.create_task(services.numbers.run()),
                asyncio.create_task(services.engine.run()),
                asyncio.create_task(services.own_numbers.run()),
                asyncio.create_task(services.busy.run()),
                asyncio.create_task(
                    read_lead_files(services.leads, settings.leads_csv_path, settings.leads_csv_dir)
                ),
            }
            if owns_process:
                collector = Collector(busy=lambda: gate.in_flight > 0)
                tasks.add(asyncio.create_task(collector.run()))
            try:
                yield {"services": services, "feed": feed}
            finally:
                feed.ending.set()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await services.inbound.owed.aclose()
                await services.bookkeeping.aclose()
                await services.journal.aclose()
        log.info("router.stopped")

    unserved = {HTTPException: refuse, Exception: apologise}
    return Router(routes=ROUTES, lifespan=lifespan, exception_handlers=unserved)
