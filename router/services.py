"""What a running router holds, made of its settings: opened together, closed in turn."""

import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypedDict

import httpx
from livekit.protocol.egress import S3Upload

import personas
from personas.building import build_lookup
from personas.contract import Report
from personas.lookup import PersonaLookup
from personas.reports import MAX_REPORT_BYTES
from personas.sources.files import FilePersonaSource
from personas.sources.shared import LOCK_S, SharedPersonas
from personas.tokens import call_token
from router.access import Access, is_loopback
from router.addresses import Neighbours
from router.bodies import BODY_S, Bodies
from router.bookkeeping import Bookkeeping
from router.busyness import Busy
from router.campaign_files import read_files
from router.checkups import Checkups
from router.db import Store
from router.dialer import Dialer
from router.dispatch import LiveKit
from router.doctor import Doctor, refusals_of
from router.engine import Engine
from router.erasure import Erasure
from router.events import MAX_BODY_BYTES
from router.findings import Refusals
from router.fingerprint import fingerprint
from router.inbound import InboundCalls
from router.lastresort.desk import LastResort, available
from router.launch import Launches, judge_for
from router.live import LiveCalls
from router.metrics import Metrics
from router.notifier import Notifier
from router.overload import Gate
from router.own_numbers import OwnNumbers
from router.recall import Recall
from router.recorder import Recorder
from router.records.accounts import Accounts
from router.records.appointments import BuiltInCalendar
from router.records.attempts import Attempts
from router.records.calls import Calls, Dispatched
from router.records.campaigns import Campaigns
from router.records.claims import Claims, SpareClaims
from router.records.consents import Consents
from router.records.do_not_call import DoNotCall
from router.records.figures import DayFigures
from router.records.hooks import Hooks
from router.records.journal import Journal
from router.records.leads import Leads
from router.records.leases import Lease
from router.records.numbers import Numbers
from router.records.outbox import Outbox
from router.records.owed import Owed
from router.records.people import People
from router.records.recollection import Recollection
from router.records.recordings import RecordingRows
from router.records.retention import DAY_S, kinds
from router.records.runs import Capacity, Runs
from router.recovery import Limits
from router.routing import NumberingPlan
from router.seals import Seal
from router.settings import RouterSettings
from router.sweeper import LEASE_S, Sweeper
from router.tally import Tally
from router.tokens import Keys
from router.tool_runs import Toolbox
from router.toolbox import open_toolbox
from router.trunks import Trunks
from router.watch import Watch

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
    access: Access
    calls: Calls
    tally: Tally
    bookkeeping: Bookkeeping
    sweeper: Sweeper
    erasure: Erasure
    recorder: Recorder
    report_bodies: Bodies
    toolbox: Toolbox
    appointments: BuiltInCalendar
    live: LiveCalls
    leads: Leads
    campaigns: Campaigns
    do_not_call: DoNotCall
    consents: Consents
    outbox: Outbox
    figures: DayFigures
    hooks: Hooks
    notifier: Notifier
    numbers: Numbers
    own_numbers: OwnNumbers
    busy: Busy
    engine: Engine
    launches: Launches
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
    metrics.waiting.set_function(lambda: gate.waiting)
    metrics.build.labels(personas.__version__, fingerprint(settings)).set(1)
    store = Store(settings.store_url(), note=metrics.note_work)
    try:
        await store.open()
        lookup = lookup_from(settings, metrics)
        try:
            appointments = BuiltInCalendar(store, clock=clock)
            async with (
                livekit_from(settings) as livekit,
                open_toolbox(settings, store, appointments, clock=clock) as toolbox_for,
                httpx.AsyncClient(follow_redirects=False, trust_env=False) as hook_client,
                Launches(store, clock=clock) as launches,
            ):
                owner = f"{socket.gethostname()}:{uuid.uuid4().hex[:12]}"[-64:]
                claims = Claims(
                    store,
                    owner=owner,
                    lease_s=settings.persona_budget_s
                    + settings.dispatch_timeout_s
                    + LEASE_MARGIN_S,
                    clock=clock,
                    new_id=_new_id,
                    snapshots_kept_s=settings.snapshots_days * DAY_S,
                )
                tally = Tally(metrics, clock=clock)
                hooks = Hooks(store, clock=clock, seal=seal_from(settings))
                recorder = Recorder(
                    livekit=livekit,
                    rows=RecordingRows(store, clock=clock),
                    path=settings.recording_path,
                )
                numbers = Numbers(store, clock=clock)
                await numbers.load()
                calls = Calls(store, clock=clock, notice=tally.turned, tenant_of=numbers.tenant_of)
                owed = Owed(store, owner=owner, clock=clock)

                def note_call(call: Dispatched) -> None:
                    calls.dispatched(call)
                    tally.sent(call)

                inbound = InboundCalls(
                    trunks=Trunks(plan_from(settings), livekit, clock=time.monotonic),
                    claims=claims,
                    spare=SpareClaims(_new_id),
                    owed=owed,
                    personas=lookup,
                    dispatcher=livekit,
                    metrics=metrics,
                    clock=clock,
                    note_call=note_call,
                    recall=Recall(calls, numbers.tenant_of),
                    report_for=report_for(settings, clock),
                )
                journal = Journal(
                    store,
                    max_rows=settings.journal_max_rows,
                    days=settings.journal_days,
                    clock=clock,
                    count=lambda outcome, rows: metrics.journal[outcome].inc(rows),
                    tenant_of=numbers.tenant_of,
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
                    announce=hooks.alert,
                    clock=clock,
                )
                leads = Leads(store, clock=clock, region=settings.default_region)
                campaigns = Campaigns(store, clock=clock, files=lambda: read_files(settings)[0])
                own_numbers = OwnNumbers.of(settings, livekit)
                await own_numbers.learn_files()
                busy = Busy(client=hook_client, workers=settings.workers())
                attempts = Attempts(
                    store,
                    clock=clock,
                    new_id=_new_id,
                    owner=owner,
                    judge=judge_for(own_numbers.known),
                )
                engine = Engine(
                    store=store,
                    runs=Runs(
                        store,
                        attempts,
                        clock=clock,
                        new_id=_new_id,
                        capacity=Capacity(settings.max_calls, settings.inbound_reserved_calls),
                    ),
                    attempts=attempts,
                    campaigns=campaigns,
                    leads=leads,
                    calls=calls,
                    dialer=Dialer(
                        attempts=attempts,
                        livekit=livekit,
                        house=lambda: lookup.house_persona,
                        files=FilePersonaSource(settings.persona_dir)
                        if settings.persona_dir
                        else None,
                        clock=clock,
                        report_for=report_for(settings, clock),
                        note_call=note_call,
                    ),
                    default_trunk=settings.sip_trunk_id,
                    clock=clock,
                    brake=busy.brake if settings.pace_by_load else lambda: 1.0,
                    metrics=metrics,
                )
                metrics.watch_breaker(lambda: lookup.breaker_state)
                metrics.journal_waiting.set_function(lambda: len(journal))
                metrics.owed.set_function(lambda: len(owed))
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
                    access=access_from(settings, store, clock),
                    calls=calls,
                    tally=tally,
                    bookkeeping=Bookkeeping(calls=calls, livekit=livekit),
                    erasure=Erasure(
                        people=People(store, clock=clock),
                        lookup=lookup,
                        copies=settings.state_dir / "last-known-good",
                    ),
                    sweeper=Sweeper(
                        store=store,
                        lease=Lease(store, "retention", owner=owner, for_s=LEASE_S, clock=clock),
                        kinds=kinds(settings),
                        metrics=metrics,
                        clock=clock,
                    ),
                    report_bodies=Bodies(MAX_REPORT_BYTES, body_s),
                    toolbox=toolbox_for(claims, recorder),
                    recorder=recorder,
                    appointments=appointments,
                    do_not_call=DoNotCall(store, clock=clock, count=metrics.count_opt_outs),
                    outbox=Outbox(store, clock=clock),
                    figures=DayFigures(store, clock=clock),
                    hooks=hooks,
                    notifier=Notifier(
                        hooks=hooks,
                        client=hook_client,
                        neighbours=Neighbours.of(settings.hook_private_hosts),
                        metrics=metrics,
                        clock=clock,
                    ),
                    numbers=numbers,
                    own_numbers=own_numbers,
                    busy=busy,
                    consents=Consents(store, clock=clock),
                    live=LiveCalls(
                        livekit=livekit,
                        claims=claims,
                        recollection=Recollection(store),
                        find=lookup.find,
                    ),
                    leads=leads,
                    campaigns=campaigns,
                    engine=engine,
                    launches=launches,
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


def access_from(settings: RouterSettings, store: Store, clock: Callable[[], float]) -> Access:
    """Return what finds out who asks, as *settings* want it."""
    return Access(
        Accounts(store, clock),
        clock=clock,
        livekit_secret=settings.livekit_api_secret.get_secret_value(),
        jwt_secret=settings.api_jwt_secret.get_secret_value(),
        open_here=settings.router_dev and is_loopback(settings.host),
        redis_url=settings.redis_url.get_secret_value(),
    )


def seal_from(settings: RouterSettings) -> Seal:
    """Return what hides secrets in the database: LiveKit's secret, or one that it had, opens it."""
    own = settings.livekit_api_secret.get_secret_value()
    return Seal([own, *settings.webhook_keys().values()])


def report_for(
    settings: RouterSettings, clock: Callable[[], float]
) -> Callable[[str], Report | None]:
    """Return what tells the agent of a call where to report to, if *settings* say where."""
    url, secret = settings.report_url(), settings.livekit_api_secret.get_secret_value()
    if url is None:
        return lambda _call_id: None
    return lambda call_id: Report(url=url, token=call_token(call_id, secret, clock()))


def _new_id() -> str:
    return os.urandom(16).hex()  # as random as a UUID, in half the time


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
        upload=_upload(settings),
    )


def _upload(settings: RouterSettings) -> S3Upload | None:
    """Return where recordings are put; None: a file beside whoever records."""
    if not settings.recording_s3_bucket:
        return None
    return S3Upload(
        bucket=settings.recording_s3_bucket,
        region=settings.recording_s3_region,
        endpoint=settings.recording_s3_endpoint,
        access_key=settings.recording_s3_access_key,
        secret=settings.recording_s3_secret.get_secret_value(),
        force_path_style=bool(settings.recording_s3_endpoint),
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
        count=metrics.note_request,
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
