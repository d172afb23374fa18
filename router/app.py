"""The ASGI application: routes, lifespan, and the one table that maps outcomes to statuses."""

import asyncio
import json
import math
import platform
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

import personas
from personas.logs import mask
from personas.lookup import PersonaLookup, build_lookup
from router.bodies import BODY_S, Bodies
from router.checkups import Checkups
from router.db import Store
from router.dispatch import LiveKit
from router.doctor import Doctor, refusals_of
from router.errors import DeliveryRefused, LiveKitUnavailable, StoreUnavailable
from router.events import MAX_BODY_BYTES, verify
from router.findings import Refusals
from router.inbound import AGAIN, InboundCalls
from router.metrics import Metrics
from router.overload import Gate
from router.records.claims import Claims
from router.routing import NumberingPlan
from router.settings import RouterSettings
from router.tokens import Keys
from router.trunks import Trunks

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 1.0
LEASE_MARGIN_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What a running router holds."""

    settings: RouterSettings
    keys: Keys
    metrics: Metrics
    store: Store
    livekit: LiveKit
    lookup: PersonaLookup
    inbound: InboundCalls
    bodies: Bodies
    gate: Gate
    checkups: Checkups
    clock: Callable[[], float]  # Unix seconds


class State(TypedDict):
    """The lifespan's state, which every request carries."""

    services: Services


@asynccontextmanager
async def open_services(
    settings: RouterSettings,
    clock: Callable[[], float] = time.time,
    *,
    metrics: Metrics | None = None,
    body_s: float = BODY_S,
) -> AsyncIterator[Services]:
    """Open all that a router needs, and close it again."""
    metrics = metrics or Metrics()
    gate = Gate(settings.max_deliveries)
    metrics.in_flight.set_function(lambda: gate.in_flight)
    store = Store(settings.store_url())
    try:
        await store.open()
        lookup = lookup_from(settings, metrics)
        try:
            async with livekit_from(settings) as livekit:
                plan = plan_from(settings)
                yield Services(
                    settings=settings,
                    keys={key: secret.encode() for key, secret in settings.webhook_keys().items()},
                    metrics=metrics,
                    store=store,
                    livekit=livekit,
                    lookup=lookup,
                    inbound=InboundCalls(
                        trunks=Trunks(plan, livekit, clock=time.monotonic),
                        claims=Claims(
                            store,
                            owner=f"{socket.gethostname()}:{uuid.uuid4().hex[:12]}"[-64:],
                            lease_s=settings.persona_budget_s
                            + settings.dispatch_timeout_s
                            + LEASE_MARGIN_S,
                            clock=clock,
                            new_id=lambda: uuid.uuid4().hex,
                        ),
                        personas=lookup,
                        dispatcher=livekit,
                        metrics=metrics,
                        clock=clock,
                    ),
                    bodies=Bodies(MAX_BODY_BYTES, body_s),
                    gate=gate,
                    checkups=_checkups(settings, livekit, lookup, metrics),
                    clock=clock,
                )
        finally:
            await lookup.aclose()
    finally:
        await store.aclose()


def _checkups(
    settings: RouterSettings, livekit: LiveKit, lookup: PersonaLookup, metrics: Metrics
) -> Checkups:
    async def refusals() -> Refusals:
        return refusals_of(metrics.registry.collect())

    doctor = Doctor(
        settings=settings,
        livekit=livekit,
        personas=lookup,
        plan=plan_from(settings),
        refusals=refusals,
    )
    return Checkups(doctor.look)


def plan_from(settings: RouterSettings) -> NumberingPlan:
    """Return the numbering plan that *settings* describe."""
    return NumberingPlan(
        default_region=settings.default_region,
        region_by_trunk=settings.region_by_trunk(),
        number_by_trunk=settings.number_by_trunk(),
    )


def livekit_from(settings: RouterSettings) -> LiveKit:
    """Return the client of the LiveKit that *settings* name, not yet open."""
    return LiveKit(
        url=settings.livekit_url,
        api_key=settings.livekit_api_key,
        api_secret=settings.livekit_api_secret.get_secret_value(),
        agent_name=settings.agent_to_dispatch,
        timeout_s=settings.dispatch_timeout_s,
    )


def lookup_from(settings: RouterSettings, metrics: Metrics) -> PersonaLookup:
    """Return the lookup that *settings* describe; close it with ``aclose``."""
    return build_lookup(
        api_base=settings.api_base(),
        api_token=settings.persona_api_token.get_secret_value() or None,
        number_forms=settings.number_forms(),
        number_fields=settings.number_fields(),
        budget_s=settings.persona_budget_s,
        persona_dir=settings.persona_dir,
        state_dir=settings.state_dir,
        count=lambda outcome: metrics.persona_requests.labels(outcome).inc(),
    )


def problem(status: int, title: str, code: str, fix: str = "") -> bytes:
    """Return an RFC 9457 body."""
    document = {"type": "about:blank", "title": title, "status": status, "code": code}
    return json.dumps(document | ({"fix": fix} if fix else {})).encode()


def _answer(
    status: int, body: bytes = b"", headers: Mapping[bytes, bytes] | None = None
) -> tuple[Message, Message]:
    kind = b"application/problem+json" if body else b"text/plain"
    fields = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        *(headers or {}).items(),
    ]
    return (
        {"type": "http.response.start", "status": status, "headers": fields},
        {"type": "http.response.body", "body": body},
    )


DONE = _answer(200)
NOT_OURS = _answer(401, problem(401, "Unauthorized", "not_signed_by_livekit"))
RUBBISH = _answer(400, problem(400, "Bad Request", "signed_rubbish"))
TOO_LARGE = _answer(413, problem(413, "Content Too Large", "too_large"))
# 408 by the book, but LiveKit would never repeat that.
SLOW = _answer(
    503,
    problem(503, "Service Unavailable", "slow_body"),
    {b"retry-after": b"1", b"connection": b"close"},
)
SHED = _answer(503, problem(503, "Service Unavailable", "busy_with_calls"), {b"retry-after": b"5"})
DELIVER_AGAIN = problem(503, "Service Unavailable", "deliver_again")
ONLY_POST = _answer(405, problem(405, "Method Not Allowed", "only_post"), {b"allow": b"POST"})
BY_STATUS = {400: RUBBISH, 401: NOT_OURS, 413: TOO_LARGE, 503: SLOW}


class WebhookEndpoint:
    """`POST /livekit-webhook`, straight on ASGI: every delivery of a room waits for the one before.

    The body is read by counting and in time, so a sender can make the router neither hold more than
    the limit nor wait.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        services = cast("State", scope["state"])["services"]
        answer = ONLY_POST
        if scope["method"] == "POST":
            answer = await self._take(services, scope, receive)
        for message in answer:
            await send(message)

    async def _take(
        self, services: Services, scope: Scope, receive: Receive
    ) -> tuple[Message, Message]:
        metrics = services.metrics
        try:
            authorization = _authorization(scope)
            body = await services.bodies.read(receive)
            event = verify(authorization, body, services.clock(), services.keys)
        except DeliveryRefused as exc:
            log.warning("delivery.refused", reason=exc.reason, status=exc.status)
            metrics.refused.labels(exc.reason).inc()
            metrics.refused_at.labels(exc.reason).set(services.clock())
            metrics.deliveries.labels("refused").inc()
            return BY_STATUS[exc.status]
        metrics.count_event(event.name)
        gate = services.gate
        if not gate.enter() and (again_in_s := await gate.wait()):
            metrics.count_delivery("put_off")
            return _again(again_in_s)
        began = time.perf_counter()
        try:
            outcome = await services.inbound.take(event)
        except Exception:  # a bug of ours must not lose the call: LiveKit delivers again
            log.exception("delivery.crashed", event_id=event.event_id)
            metrics.count_delivery("crashed")
            return _again(1.0)
        finally:
            gate.leave(time.perf_counter() - began)
        metrics.count_delivery(outcome.verdict)
        return _again(outcome.again_in_s) if outcome.verdict in AGAIN else DONE


def _again(in_s: float) -> tuple[Message, Message]:
    wait_s = max(1, math.ceil(in_s))  # whole seconds; 0 would be repeated within a millisecond
    return _answer(503, DELIVER_AGAIN, {b"retry-after": str(wait_s).encode()})


def _authorization(scope: Scope) -> str | None:
    authorization = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-encoding":
            raise DeliveryRefused("content_encoding", status=400)
    return authorization


async def health(_request: Request) -> Response:
    """Answer as long as the process runs; no I/O."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Ask each dependency: without one of them a call could not be answered."""
    services: Services = request.state.services
    database, livekit = await asyncio.gather(_database(services), _livekit(services))
    checks = {"database": database, "livekit": livekit}
    well = all(check["ok"] for check in checks.values())
    # Where it is asked, nobody has to prove who they are: our numbers are masked.
    warnings = [
        {"check": one.name, "level": one.level, "said": mask(one.said), "fix": one.fix}
        for one in services.checkups.warnings
    ]
    status = "ready" if well else "unready"
    answer = {"status": status, "checks": checks, "warnings": warnings}
    return JSONResponse(answer, 200 if well else 503)


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


WEBHOOK_PATH = "/livekit-webhook"
WEBHOOK = WebhookEndpoint()
NEVER_SHED = frozenset({"/health", "/healthz", "/readyz"})  # who asks them would stop us
ROUTES = [
    Route(WEBHOOK_PATH, WEBHOOK),
    Route("/health", health),
    Route("/healthz", health),
    Route("/readyz", ready),
    Route("/metrics", metrics_page),
    Route("/version", version),
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
            for message in SHED:
                await send(message)
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
) -> Starlette:
    """Return the application; its lifespan opens and closes all that it needs."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        opened = open_services(settings, clock, metrics=metrics, body_s=body_s)
        async with opened as services, services.checkups:
            log.info(
                "router.started",
                agent=settings.agent_to_dispatch,
                persona_api=bool(settings.api_base()),
                default_region=settings.default_region,
            )
            yield {"services": services}
        log.info("router.stopped")

    return Router(routes=ROUTES, lifespan=lifespan)
