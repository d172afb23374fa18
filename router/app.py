"""The ASGI application: routes, lifespan, and the one table that maps outcomes to statuses."""

import asyncio
import ipaddress
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
from starlette.types import Receive, Scope, Send

import personas
from personas.lookup import PersonaLookup, build_lookup
from personas.sources.shared import LOCK_S, SharedPersonas
from router.answers import (
    BY_STATUS,
    DONE,
    ONLY_POST,
    SHED,
    Answered,
    again,
    problem,
)
from router.bodies import BODY_S, Bodies
from router.checkups import Checkups
from router.db import Store
from router.dispatch import LiveKit
from router.doctor import Doctor, refusals_of
from router.errors import DeliveryRefused, LiveKitUnavailable, PurgeRefused, StoreUnavailable
from router.events import MAX_BODY_BYTES, verify
from router.findings import Refusals
from router.inbound import AGAIN, InboundCalls, Outcome
from router.lastresort.desk import LastResort, available
from router.metrics import Metrics
from router.overload import Gate
from router.purge import check_allowed, read_purge
from router.records.claims import Claims, SpareClaims
from router.records.journal import Decided, Delivered, Journal
from router.records.leases import Lease
from router.records.trace import trace_of
from router.recovery import Limits
from router.routing import Event, NumberingPlan
from router.settings import RouterSettings
from router.tokens import Keys
from router.trunks import Trunks
from router.watch import Watch

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 1.0
LEASE_MARGIN_S = 1.0
SWEEP_LEASE_S = 2.5  # another replica sweeps within 3 s


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
    journal: Journal
    watch: Watch
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
                owner = f"{socket.gethostname()}:{uuid.uuid4().hex[:12]}"[-64:]
                claims = Claims(
                    store,
                    owner=owner,
                    lease_s=settings.persona_budget_s
                    + settings.dispatch_timeout_s
                    + LEASE_MARGIN_S,
                    clock=clock,
                    new_id=_new_id,
                )
                inbound = InboundCalls(
                    trunks=Trunks(plan_from(settings), livekit, clock=time.monotonic),
                    claims=claims,
                    spare=SpareClaims(_new_id),
                    personas=lookup,
                    dispatcher=livekit,
                    metrics=metrics,
                    clock=clock,
                )
                journal = Journal(
                    store,
                    max_rows=settings.journal_max_rows,
                    days=settings.journal_days,
                    clock=clock,
                    count=lambda outcome, rows: metrics.journal[outcome].inc(rows),
                )
                watch = Watch(
                    livekit=livekit,
                    claims=claims,
                    lease=Lease(store, "sweep", owner=owner, for_s=SWEEP_LEASE_S, clock=clock),
                    inbound=inbound,
                    metrics=metrics,
                    limits=Limits(answer_timeout_s=settings.answer_timeout_s),
                    fallback_agent=settings.fallback_agent or None,
                    last_resort=_last_resort(settings, livekit, claims, metrics),
                    note=journal.note,
                    clock=clock,
                )
                metrics.watch_breaker(lambda: lookup.breaker_state)
                lookup.start(warm_up=settings.persona_warm_up, region=settings.default_region)
                yield Services(
                    settings=settings,
                    keys={key: secret.encode() for key, secret in settings.webhook_keys().items()},
                    metrics=metrics,
                    store=store,
                    livekit=livekit,
                    lookup=lookup,
                    inbound=inbound,
                    watch=watch,
                    journal=journal,
                    bodies=Bodies(MAX_BODY_BYTES, body_s),
                    gate=gate,
                    checkups=_checkups(settings, livekit, lookup, metrics),
                    clock=clock,
                )
        finally:
            await lookup.aclose()
    finally:
        await store.aclose()


def _last_resort(
    settings: RouterSettings, livekit: LiveKit, claims: Claims, metrics: Metrics
) -> LastResort | None:
    """Return what answers a caller whom no agent answers; None: it is not to be had."""
    if not settings.last_resort_calls or not available():
        return None
    return LastResort(
        livekit=livekit,
        claims=claims,
        metrics=metrics,
        most=settings.last_resort_calls,
        number=settings.fallback_number,
        folder=settings.house_recordings,
    )


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


def _new_id() -> str:
    return uuid.uuid4().hex


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


def lookup_from(settings: RouterSettings, metrics: Metrics, **rehearsed: Any) -> PersonaLookup:
    """Return the lookup that *settings* describe; close it with ``aclose``.

    *rehearsed* is what a rehearsal sets otherwise, by ``build_lookup``'s names; Redis has no part
    in one.
    """
    return build_lookup(
        api_base=settings.api_base(),
        api_token=settings.persona_api_token.get_secret_value() or None,
        number_forms=settings.number_forms(),
        number_fields=settings.number_fields(),
        budget_s=settings.persona_budget_s,
        cache_bytes=settings.persona_cache_mib * 1024 * 1024,
        persona_dir=settings.persona_dir,
        state_dir=settings.state_dir,
        shared=None if rehearsed else shared_from(settings),
        max_stale_s=settings.persona_max_stale_s,
        count=lambda outcome: metrics.persona_requests[outcome].inc(),
        **rehearsed,
    )


def shared_from(settings: RouterSettings) -> SharedPersonas | None:
    """Return what *settings* say that routers share; close it with ``aclose``."""
    url, api_base = settings.redis_url.get_secret_value(), settings.api_base()
    if not url or api_base is None:
        return None
    return SharedPersonas(
        url,
        namespace=f"{api_base} {settings.persona_api_forms}",  # who asks otherwise shares nothing
        number_fields=settings.number_fields(),
        lock_s=min(LOCK_S, settings.persona_budget_s / 2),
    )


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

    async def _take(self, services: Services, scope: Scope, receive: Receive) -> Answered:
        metrics = services.metrics
        received_at, started = services.clock(), time.perf_counter()
        try:
            authorization = _authorization(scope)
            body = await services.bodies.read(receive)
            event = verify(authorization, body, services.clock(), services.keys)
        except DeliveryRefused as exc:
            log.warning("delivery.refused", reason=exc.reason, status=exc.status)
            metrics.refused[exc.reason].inc()
            metrics.refused_at.labels(exc.reason).set(services.clock())
            metrics.deliveries["refused"].inc()
            services.journal.note_refused(received_at, exc)
            return BY_STATUS[exc.status]
        verify_ms = round((time.perf_counter() - started) * 1000, 2)
        metrics.count_event(event.name)
        gate = services.gate
        if not gate.enter() and (again_in_s := await gate.wait()):
            metrics.deliveries["put_off"].inc()
            return again(again_in_s)
        began = time.perf_counter()
        try:
            outcome = await services.inbound.take(event)
        except Exception:  # a bug of ours must not lose the call: LiveKit delivers again
            log.exception("delivery.crashed", event_id=event.event_id)
            metrics.deliveries["crashed"].inc()
            because = "a defect of ours; the log has more"
            services.journal.note(Delivered(received_at, 503, "crashed", because, event=event))
            return again(1.0)
        finally:
            gate.leave(time.perf_counter() - began)
        metrics.deliveries[outcome.verdict].inc()
        repeated = outcome.verdict in AGAIN
        services.journal.note(
            _delivered(event, outcome, 503 if repeated else 200, received_at, verify_ms)
        )
        return again(outcome.again_in_s) if repeated else DONE


DECIDED: Mapping[str, Decided] = {"ignored": "ignore", "refused": "refuse"}


def _delivered(
    event: Event, outcome: Outcome, status: int, received_at: float, verify_ms: float
) -> Delivered:
    trail, because = outcome.trail, outcome.because
    decided = DECIDED.get(outcome.verdict, "answer")
    if trail is None:
        stages = {"verify": verify_ms}
        return Delivered(
            received_at, status, outcome.verdict, because, decided, event, stages=stages
        )
    return Delivered(
        received_at,
        status,
        outcome.verdict,
        because,
        decided,
        event,
        trail.dialed,
        trail.call_id,
        trail.attempt,
        trail.origin,
        {"verify": verify_ms, **trail.stages},
    )


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
    document = {
        "status": "ready" if well else "unready",
        "checks": checks,
        "personas": _personas(services.lookup),
        "warnings": services.checkups.shown(),
    }
    return JSONResponse(document, 200 if well else 503)


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


async def purge(request: Request) -> Response:
    """Forget personas: `{"number": "…"}` or `{"all": true}`."""
    services: Services = request.state.services
    settings = services.settings
    try:
        check_allowed(request.headers, host=settings.host, dev=settings.router_dev)
        number = await read_purge(request, settings.default_region)
    except PurgeRefused as exc:
        content = problem(exc.status, exc.title, exc.reason, exc.fix)
        return Response(content, exc.status, media_type="application/problem+json")
    told = await services.lookup.purge(number)
    others = {None: "none", True: "told", False: "later"}[told]
    return JSONResponse({"purged": "all" if number is None else "number", "others": others})


async def version(_request: Request) -> Response:
    """Which build answers."""
    return JSONResponse({"version": personas.__version__, "python": platform.python_version()})


def _problem(status: int, title: str, code: str, fix: str) -> Response:
    body = problem(status, title, code, fix)
    return Response(body, status, media_type="application/problem+json")


def _stays_here(settings: RouterSettings, request: Request) -> bool:
    """Whether what is answered cannot leave this machine, or its operator is developing."""
    if settings.router_dev:
        return True
    if "forwarded" in request.headers or "x-forwarded-for" in request.headers:
        return False
    peer = request.client.host if request.client else ""
    return _is_loopback(settings.host) and _is_loopback(peer)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def trace(request: Request) -> Response:
    """Where the ring time of one call went."""
    services: Services = request.state.services
    if not _stays_here(services.settings, request):
        fix = "ask from the router's machine: `persona-router explain --call ID`, or HOST=127.0.0.1"
        return _problem(403, "Forbidden", "only_from_this_machine", fix)
    try:
        found = await trace_of(services.store, request.path_params["id"])
    except StoreUnavailable:
        return _problem(503, "Service Unavailable", "database_away", "see DATABASE_URL")
    if found is None:
        fix = "call ids are in the log line call.dispatched; JOURNAL_DAYS says how long"
        return _problem(404, "Not Found", "no_such_call", fix)
    return JSONResponse(found.document())


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
    Route("/api/calls/{id}/trace", trace),
    Route("/api/personas/purge", purge, methods=["POST"]),
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
            tasks = {
                asyncio.create_task(services.journal.run()),
                asyncio.create_task(services.watch.run()),
            }
            try:
                yield {"services": services}
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await services.journal.aclose()
        log.info("router.stopped")

    return Router(routes=ROUTES, lifespan=lifespan)
