"""Runs campaigns: takes leads, has them called, and sees what becomes of each call.

Every router may run it. What is true stands in the database: which campaigns run, which lead is
next, which attempts go on and who looks after them. A turn can end anywhere, and another router's
turn goes on from there.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import sqlalchemy as sa
import structlog

from personas.reports import CallReport, ClosedEvent, OpenedEvent
from router.campaigns.progress import Mode, Run, RunState
from router.campaigns.resolution import (
    NOTHING_HEARD,
    Heard,
    Over,
    PickedUp,
    Sight,
    heard,
    resolve,
    seen,
)
from router.db import Store
from router.dialer import Dialer, version_of_campaign
from router.errors import LiveKitUnavailable, RunRefused, StoreUnavailable
from router.metrics import Metrics
from router.principals import DEFAULT_TENANT
from router.records.attempts import Attempt, Attempts, Order, Refused, State, attempt_in
from router.records.calls import Calls
from router.records.campaigns import Campaigns, KnownCampaign
from router.records.leads import Leads, StoredLead
from router.records.leases import Lease, leases
from router.records.runs import Nothing, Runs, Taken, retry_of
from router.routing import Event

log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
IDLE_S: Final = 2.0  # while nothing runs here
OWNER_S: Final = 10.0  # a router that has not said so for this long is dead
LOOKS: Final = 16  # at rooms, at the same time
MAX_HEARD: Final = 10_000  # attempts that LiveKit's events told of, while the database is away
FORGOTTEN_S: Final = 600.0  # after its agent was sent, a call that is not open is forgotten
#: How a call may end, by what an agent reports.
_STATES: Final[Mapping[str, State]] = {
    "answered": "answered",
    "no_answer": "no_answer",
    "busy": "busy",
    "declined": "declined",
    "invalid_number": "invalid_number",
    "voicemail": "voicemail",
    "transferred": "transferred",
    "canceled": "canceled",
    "failed": "failed",
    "uncertain": "uncertain",
}


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How a campaign's run stands."""

    state: RunState
    campaign: str
    run: Run | None = None  # None: it has never run
    current: tuple[Attempt, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)  # attempts of this run by state
    waiting: int = 0  # leads that are called (again) later
    waiting_until: float | None = None  # when the first of them is due, Unix seconds
    pace: float = 0.0  # calls a second, as the campaign has it
    tripped: str = ""  # which breaker keeps it from calling, if one does


async def standing(runs: Runs, attempts: Attempts, tenant: str, campaign_key: str) -> RunStatus:
    """Say how a campaign's run stands, as the database has it. Raises StoreUnavailable."""
    run = await runs.find(tenant, campaign_key)
    current = tuple(await attempts.open(tenant=tenant, campaign=campaign_key))
    if run is None:
        return RunStatus("idle", campaign_key, current=current)
    waiting, until = await runs.waiting(run.run_id)
    counts = await attempts.counts(tenant, run.run_id)
    return RunStatus(run.state, campaign_key, run, current, counts, waiting, until)


@dataclass(kw_only=True, slots=True)
class Engine:
    """Runs the campaigns of all tenants. *clock* gives Unix seconds, *brake* the pace left."""

    store: Store
    runs: Runs
    attempts: Attempts
    campaigns: Campaigns
    leads: Leads
    calls: Calls
    dialer: Dialer
    default_trunk: str = ""
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    brake: Callable[[], float] = lambda: 1.0
    metrics: Metrics = field(default_factory=Metrics)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _placing: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by attempt
    _sights: dict[str, Sight] = field(default_factory=dict)
    _heard: dict[str, Heard] = field(default_factory=dict)  # not in the database yet
    _held_at: float = -math.inf  # monotonic
    _next_at: float = 0.0

    # ---- what operators want ----

    async def start(
        self,
        campaign_key: str,
        *,
        tenant: str = DEFAULT_TENANT,
        list_name: str | None = None,
        mode: Mode = "all",
        position: int | None = None,
        by: str = "",
        at: float = 0.0,
    ) -> RunStatus:
        """Begin to call: the active list or *list_name*, from the lead at *position* (from 1) on.

        Nobody is called before *at* (Unix seconds); that outlives restarts as all else does.

        Raises:
            RunRefused: ``no_such_campaign``, ``archived``, ``no_list``, ``no_lead``, ``not_idle``.
            StoreUnavailable: the database did not answer.
        """
        known = await self._campaign(tenant, campaign_key)
        if known.archived:
            raise RunRefused("archived", fix="the campaign is put away; take it out again first")
        found = await self.leads.find(tenant, list_name)
        if found is None:
            raise RunRefused("no_list", fix="upload a list of leads, or select one")
        if position is not None and not 1 <= position <= found.leads:
            raise RunRefused("no_lead", fix=f"the list has {found.leads} leads")
        run = await self.runs.start(
            tenant, campaign_key, found, mode=mode, position=(position or 1) - 1, by=by, at=at
        )
        log.info("run.started", campaign=campaign_key, run_id=run.run_id, mode=mode)
        self._wake.set()
        return await self.status(campaign_key, tenant=tenant)

    async def pause(self, campaign_key: str, *, tenant: str = DEFAULT_TENANT) -> RunStatus:
        """Call nobody from now on; calls that go on do. Raises RunRefused, StoreUnavailable."""
        await self.runs.wish(tenant, campaign_key, "pause", "an operator paused it")
        log.info("run.paused", campaign=campaign_key)
        return await self.status(campaign_key, tenant=tenant)

    async def resume(self, campaign_key: str, *, tenant: str = DEFAULT_TENANT) -> RunStatus:
        """Go on. Raises RunRefused, StoreUnavailable."""
        await self.runs.wish(tenant, campaign_key, "resume", "")
        log.info("run.resumed", campaign=campaign_key)
        self._wake.set()
        return await self.status(campaign_key, tenant=tenant)

    async def stop(
        self, campaign_key: str, *, now: bool = False, tenant: str = DEFAULT_TENANT
    ) -> RunStatus:
        """End the run after the calls that go on, or *now*, with them.

        Raises:
            RunRefused: not from the state that it is in.
            StoreUnavailable: the database did not answer.
        """
        run = await self.runs.wish(tenant, campaign_key, "stop", "an operator stopped it")
        log.info("run.stopped", campaign=campaign_key, now=now)
        if run is not None and now:
            because = "an operator stopped the campaign"
            await self.attempts.want_hang_up(because, campaign=campaign_key, tenant=tenant)
            going = await self.attempts.open(tenant=tenant, campaign=campaign_key)
            await asyncio.gather(*map(self.dialer.cut, going))
            await self.runs.settle()
        self._wake.set()
        return await self.status(campaign_key, tenant=tenant)

    async def status(self, campaign_key: str, *, tenant: str = DEFAULT_TENANT) -> RunStatus:
        """Say how a campaign's run stands. Raises StoreUnavailable."""
        known = await self.campaigns.find(tenant, campaign_key)
        found = await standing(self.runs, self.attempts, tenant, campaign_key)
        if known is None:
            return found
        trunk = known.campaign.trunk_id or self.default_trunk
        tripped = ", ".join(await self.runs.tripped(tenant, campaign_key, trunk))
        return replace(found, pace=known.campaign.calls_per_second, tripped=tripped)

    async def latest(self, tenant: str) -> Run | None:
        """Give the run that goes on, or the latest one; None: none ever was."""
        runs = await self.runs.list(tenant=tenant)
        return max(runs, key=lambda run: (run.state != "idle", run.started_at), default=None)

    async def call(self, order: Order) -> Attempt | Refused:
        """Call one person, outside of any run. Raises StoreUnavailable."""
        answer = await self.dialer.call(order)
        self._wake.set()
        return answer

    def order(
        self,
        known: KnownCampaign,
        found: StoredLead,
        *,
        tenant: str,
        list_id: str,
        run_id: str | None = None,
        tries: int = 1,
    ) -> Order:
        """Put together the order to call a lead of a list."""
        return Order(
            tenant=tenant,
            known=known,
            campaign_version=version_of_campaign(known.campaign),
            lead=found.lead,
            lead_id=f"{list_id}:{found.position}",
            trunk=known.campaign.trunk_id or self.default_trunk,
            run_id=run_id,
            list_id=list_id,
            position=found.position,
            tries=tries,
        )

    # ---- what agents tell ----

    async def heard(self, report: CallReport) -> None:
        """Take what an agent reports of a call that we had dialed. Raises StoreUnavailable."""
        picked_up = [
            event.answered_at
            for event in report.events
            if isinstance(event, OpenedEvent) and event.answered_at is not None
        ]
        closed = [event for event in report.events if isinstance(event, ClosedEvent)]
        if not picked_up and not closed:
            return
        attempt = await self.attempts.find(report.call_id)
        if attempt is None:
            return
        if picked_up:
            await self.attempts.answered(attempt.attempt_id, min(picked_up))
        if closed:
            state = _STATES.get(closed[-1].disposition, "uncertain")
            await self.attempts.told(attempt.attempt_id, state, closed[-1].reason)
        self._wake.set()

    # ---- what LiveKit tells ----

    def noticed(self, event: Event) -> None:
        """Take what an event tells of a call that we dial; the next turn writes it down.

        It may come to any router, and the one that looks after the call reads it in its row.
        """
        attempt_id = attempt_in(event.room)
        if attempt_id is None:
            return
        told = heard(event, self.clock())
        if told == NOTHING_HEARD:
            return
        if len(self._heard) >= MAX_HEARD:
            self._heard.pop(next(iter(self._heard)))
        self._heard[attempt_id] = self._heard.get(attempt_id, NOTHING_HEARD).and_then(told)

    async def _note_heard(self) -> None:
        told = self._heard
        if not told:
            return
        self._heard = {}
        try:
            await self.attempts.note_heard(told)
        except StoreUnavailable:
            later = self._heard
            self._heard = told | {
                key: told.get(key, NOTHING_HEARD).and_then(one) for key, one in later.items()
            }
            raise

    # ---- turns ----

    async def run(self) -> None:
        """Work until cancelled."""
        keeping = asyncio.create_task(self._keep_lease())
        try:
            while True:
                busy = await self.turn()
                now = self.clock()
                wait_s = EVERY_S if busy else IDLE_S
                if self._next_at > now:
                    wait_s = min(wait_s, self._next_at - now)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            tasks = [keeping, *self._placing.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _keep_lease(self) -> None:
        """Say that we live while a turn waits for a LiveKit that does not answer."""
        while True:
            await asyncio.sleep(OWNER_S / 4)
            if self._held_at > -math.inf:
                with suppress(StoreUnavailable):
                    await self._hold_lease()

    async def turn(self) -> bool:
        """Do once what is due; whether anything goes on. Never raises."""
        self._next_at = 0.0
        try:
            await self._note_heard()
            open_ = await self.attempts.open()
            if open_:
                await self._look_after(open_)
            await self._conclude()
            running = await self.runs.list("running", "pausing", "stopping")
            if any(run.state != "running" for run in running):
                await self.runs.settle()
            for run in running:
                if run.state == "running":
                    await self._fill(run)
        except (StoreUnavailable, LiveKitUnavailable) as exc:
            log.error("engine.kept_waiting", kind=type(exc).__name__, reason=exc.reason)
            return True
        except Exception:  # the next turn may do better
            log.exception("engine.turn_crashed")
            return True
        self.metrics.attempts_open.set(len(open_))
        self.metrics.dialer_at.set(self.clock())
        return bool(open_ or running)

    async def placed(self) -> None:
        """Wait until the agents of the calls that were taken so far have been sent."""
        while self._placing:
            await asyncio.wait(self._placing.values())

    # ---- taking leads ----

    async def _fill(self, run: Run) -> None:
        """Take leads of a run until it has to wait."""
        while True:
            known = await self.campaigns.find(run.tenant, run.campaign)
            if known is None:
                await self.runs.wish(run.tenant, run.campaign, "pause", "there is no such campaign")
                return
            answer = await self._next(run, known)
            if isinstance(answer, Taken):
                self._place(answer)
                if answer.next_at > self.clock():
                    self._soon(answer.next_at)
                    return
            elif answer.because != "refused":
                if answer.again_at is not None:
                    self._soon(answer.again_at)
                if answer.because == "exhausted":
                    log.info("run.ended", campaign=run.campaign, run_id=run.run_id)
                return

    async def _next(self, run: Run, known: KnownCampaign) -> Taken | Nothing:
        def order_of(found: StoredLead, of: Run, tries: int) -> Order:
            return self.order(
                known, found, tenant=of.tenant, list_id=of.list_id, run_id=of.run_id, tries=tries
            )

        await self._hold_lease()
        return await self.runs.next(run.tenant, run.campaign, order_of, brake=self.brake())

    def _place(self, taken: Taken) -> None:
        attempt_id = taken.attempt.attempt_id
        task = asyncio.create_task(self.dialer.place(taken.attempt, taken.order))
        self._placing[attempt_id] = task
        task.add_done_callback(lambda _task: self._placing.pop(attempt_id, None))

    def _soon(self, at: float) -> None:
        self._next_at = min(self._next_at or at, at)

    async def _hold_lease(self) -> None:
        """Say that this router looks after its calls."""
        now = self.monotonic()
        if now - self._held_at > OWNER_S / 4:
            owner = self.attempts.owner
            lease = Lease(
                self.store, f"dialer:{owner}"[:64], owner=owner, for_s=OWNER_S, clock=self.clock
            )
            await lease.hold()
            self._held_at = now

    # ---- calls that go on ----

    async def _look_after(self, going: Sequence[Attempt]) -> None:
        """See what has become of the attempts that go on."""
        mine = self.attempts.owner
        if any(one.owner == mine for one in going):
            await self._hold_lease()
        alive = await self._alive() if any(one.owner != mine for one in going) else frozenset()
        limit = asyncio.Semaphore(LOOKS)

        async def look(attempt: Attempt) -> None:
            async with limit:
                try:
                    if attempt.hang_up is not None:
                        await self.dialer.cut(attempt)
                    elif attempt.owner == mine or (
                        attempt.owner not in alive and await self.attempts.adopt(attempt)
                    ):
                        await self._look_at(attempt)
                except (StoreUnavailable, LiveKitUnavailable) as exc:
                    log.warning(
                        "attempt.not_seen", attempt_id=attempt.attempt_id, reason=exc.reason
                    )

        await asyncio.gather(*map(look, going))
        ids = {one.attempt_id for one in going}
        self._sights = {key: sight for key, sight in self._sights.items() if key in ids}
        old, sent = self.clock() - FORGOTTEN_S, self.dialer.dispatched_at
        for attempt_id in [key for key, at in sent.items() if at < old and key not in ids]:
            del sent[attempt_id]

    async def _look_at(self, attempt: Attempt) -> None:
        attempt_id, now = attempt.attempt_id, self.clock()
        if attempt.state == "claimed":
            if attempt_id not in self._placing and await self.runs.give_back(attempt):
                log.warning("attempt.given_back", attempt_id=attempt_id)
            return
        watched = attempt_id in self._placing or attempt_id in self.dialer.dispatched_at
        sight = self._sights.get(attempt_id) or Sight(
            now, unbroken=watched, adopted_at=attempt.adopted_at
        )
        try:
            there = await self.dialer.livekit.participants(attempt.room)
        except LiveKitUnavailable as exc:
            if exc.reason != "not_found" and attempt.heard.room_gone_at is None:
                self._sights[attempt_id] = replace(sight, unbroken=False)
                raise
            there = []
        sight = seen(sight, there, attempt.identity, now).told(attempt.heard)
        self._sights[attempt_id] = sight
        found = resolve(
            there,
            attempt.identity,
            answered=attempt.state == "answered",
            dialed_at=attempt.dialed_at or attempt.claimed_at,
            sight=sight,
            now=now,
        )
        match found:
            case PickedUp():
                await self.attempts.answered(attempt_id, now)
            case Over(state=state, because=because, end_room=end_room):
                if end_room and attempt.heard.room_gone_at is None:
                    await self.dialer.clear(attempt)
                await self.attempts.end(attempt_id, state, because)
                await self.calls.ended([attempt_id], because)
                log.warning("attempt.resolved", attempt_id=attempt_id, state=state, why=because)

    async def _alive(self) -> frozenset[str]:
        """Name the routers that have said lately that they look after their calls."""
        query = sa.select(leases.c.owner).where(
            leases.c.name.like("dialer:%"), leases.c.until > self.clock()
        )
        return frozenset(await self.store.read(lambda c: c.scalars(query).all()))

    async def _conclude(self) -> None:
        """Do what follows from calls that are over: another try, and what breakers learn."""
        for attempt in await self.attempts.unsettled():
            known = await self.campaigns.find(attempt.tenant, attempt.campaign)
            retry = retry_of(known.campaign, attempt.state) if known is not None else None
            if await self.runs.conclude(attempt, retry):
                self.metrics.attempts[attempt.state].inc()
                log.info("attempt.ended", attempt_id=attempt.attempt_id, state=attempt.state)

    async def _campaign(self, tenant: str, key: str) -> KnownCampaign:
        known = await self.campaigns.find(tenant, key)
        if known is None:
            raise RunRefused("no_such_campaign", fix="there is no campaign of that key")
        return known
