"""See to it that every call is answered: look at the rooms, and mend what is not well.

One replica sweeps at a time, under a lease. It compares LiveKit's rooms with the claims: finds
callers whose webhook never came, confirms agents, sends another where none has come or one has
died, answers a caller itself or ends the ringing where none will come, and closes rooms that only
an agent is in. It holds no rules of its own: they are in ``recovery``. What it does is in the
journal beside the deliveries, and a span in the call's trace.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog
from opentelemetry.trace import Span, Tracer, get_tracer

from router.errors import LiveKitUnavailable, StoreUnavailable
from router.inbound import Again, InboundCalls, Outcome
from router.lastresort.desk import BECAUSE, LastResort, Stranded
from router.metrics import Metrics
from router.records.claims import Claims
from router.records.journal import WATCH, Delivered
from router.records.leases import Lease
from router.recovery import (
    Adopt,
    Confirm,
    EndRoom,
    GiveUp,
    Limits,
    Look,
    Means,
    Ourselves,
    Redispatch,
    Seen,
    Wait,
    Watched,
    Well,
    assess,
    look_at,
    mismatched,
)
from router.routing import Event, Participant

log = structlog.get_logger(__name__)

EVERY_S = 1.0
JITTER = 0.2  # of it, either way
WELL_EVERY_S = 1.5  # a call that is well is looked at in every other sweep, never in every third
OTHER_EVERY_S = 5.0  # and a room that is no call
OTHER_AFTER_S = 10.0  # from when on a room without a caller is taken for no call
AT_ONCE = 16  # questions to LiveKit at the same time
FORGET_EVERY_S = 600.0
STOP_S = 4.0  # for what is under way when the router stops
VANISHED_AFTER_S = 5.0  # a claim whose room is not listed: it may be a moment old


class Rooms(Protocol):
    """What the watch needs of LiveKit; all of it raises LiveKitUnavailable."""

    async def rooms(self) -> Mapping[str, str]:
        """Return every room, sid → name."""
        ...

    async def participants(self, room: str) -> Sequence[Participant]:
        """Return who is in a room."""
        ...

    async def remove(self, room: str, identity: str) -> None:
        """Take a participant out."""
        ...

    async def withdraw(self, room: str) -> int:
        """Delete the dispatches in a room."""
        ...

    async def end(self, room: str) -> None:
        """Delete a room."""
        ...


@dataclass(slots=True)
class _Room:
    sid: str
    name: str
    seen: Seen | None = None
    look_at: float = 0.0  # monotonic
    busy: bool = False
    mended: bool = False
    alone_since: float | None = None  # monotonic: a caller without an agent
    mismatched: set[str] = field(default_factory=set)  # agents of which that was told


@dataclass(kw_only=True, slots=True)
class Watch:
    """Sweeps over the rooms. *clock* gives Unix seconds, *monotonic* seconds that never jump."""

    livekit: Rooms
    claims: Claims
    lease: Lease
    inbound: InboundCalls
    metrics: Metrics
    limits: Limits
    fallback_agent: str | None = None
    last_resort: LastResort | None = None
    note: Callable[[Delivered], None] = lambda _done: None
    announce: Callable[[str, str, str | None], None] = lambda _action, _because, _call_id: None
    tracer: Tracer = field(default_factory=lambda: get_tracer("persona-router"))
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _rooms: dict[str, _Room] = field(default_factory=dict)
    mending: set[asyncio.Task[None]] = field(default_factory=set)  # what a sweep has begun
    _forgot_at: float = 0.0
    _due_at: float = (
        math.inf
    )  # when a room is to be looked at again, whatever the sweeps; monotonic

    async def run(self) -> None:
        """Sweep until cancelled; then let another replica sweep."""
        try:
            while True:
                started, self._due_at = self.monotonic(), math.inf
                await self.turn()
                spread = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311  # so that replicas differ
                next_at = min(started + EVERY_S * spread, self._due_at)
                await asyncio.sleep(max(0.0, next_at - self.monotonic()))
        finally:
            for task in self.mending:
                task.cancel()
            with contextlib.suppress(StoreUnavailable):
                await self.lease.give_up()
            if self.mending:  # a last resort has a process to end
                await asyncio.wait(self.mending, timeout=STOP_S)

    async def turn(self) -> None:
        """Sweep if it is this replica's turn. Never raises."""
        try:
            if await self.lease.hold():
                with self.metrics.sweeps.time():
                    await self.sweep()
                self.metrics.swept_at.set(self.clock())
            else:
                self._rooms.clear()  # another replica sees more than this one remembers
            self._count_ringing()
        except (StoreUnavailable, LiveKitUnavailable) as exc:
            self.metrics.recoveries["sweep_failed"].inc()
            log.error("sweep.failed", kind=type(exc).__name__, reason=exc.reason)
        except Exception:  # the next sweep may do better; without one nobody would be found
            self.metrics.recoveries["sweep_failed"].inc()
            log.exception("sweep.crashed")

    async def sweep(self) -> None:
        """Look once at every room that is due.

        Raises:
            StoreUnavailable: the claims could not be read.
            LiveKitUnavailable: the rooms could not be listed.
        """
        rooms = await self.livekit.rooms()
        calls = {call.room_sid: call for call in await self.claims.watched()}
        at = self.monotonic()
        self._rooms = {sid: self._rooms.get(sid) or _Room(sid, name) for sid, name in rooms.items()}
        limit = asyncio.Semaphore(AT_ONCE)
        due = [room for room in self._rooms.values() if room.look_at <= at and not room.busy]
        await asyncio.gather(*(self._look(room, calls.get(room.sid), limit) for room in due))
        old = self.clock() - VANISHED_AFTER_S
        if gone := [c for sid, c in calls.items() if sid not in rooms and c.updated_at < old]:
            await self.claims.ended(gone, "the room is gone")
            log.info("calls.vanished", count=len(gone))
        if at - self._forgot_at > FORGET_EVERY_S:
            self._forgot_at = at
            await self.claims.forget()

    def _count_ringing(self) -> None:
        alone = [one.alone_since for one in self._rooms.values() if one.alone_since is not None]
        self.metrics.ringing.set(len(alone))
        longest_s = self.monotonic() - min(alone) if alone else 0.0
        self.metrics.ringing_longest.set(longest_s)

    async def _look(self, room: _Room, call: Watched | None, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                participants = await self.livekit.participants(room.name)
            except LiveKitUnavailable as exc:
                if exc.reason != "not_found":  # it has closed in the meantime
                    log.warning("room.not_seen", reason=exc.reason)
                return
        at = self.monotonic()
        look = look_at(participants, room.seen, at=at, now=self.clock())
        room.seen = look.seen
        room.alone_since = look.seen.no_agent_since if look.caller is not None else None
        means = Means(self.fallback_agent is not None, self.last_resort is not None)
        action = assess(look, call, self.limits, means)
        if call is not None:
            self._compare(room, look, call)
        match action:
            case Wait(until=until):
                room.look_at = at
                self._due_at = min(self._due_at, until or math.inf)
            case Well() if call is None:
                young = at - look.seen.first_at < OTHER_AFTER_S
                room.look_at = at if young else at + OTHER_EVERY_S
            case Well():
                room.look_at = at + WELL_EVERY_S
            case Confirm(call=call):
                await self.claims.answered(call)
                self.metrics.recoveries["confirmed"].inc()
                log.info("call.answered", call_id=call.call_id, attempt=call.attempt)
                if room.mended:  # LiveKit may not have told us of this agent either
                    self._journal(room, "confirmed", look.agents[0], "the agent is there", call)
            case _:
                self._mend(room, self._act(room, action))

    def _mend(self, room: _Room, work: Awaitable[None]) -> None:
        """Work on one room without keeping the sweep, and the other rooms, waiting."""

        async def mend() -> None:
            try:
                await work
            except (StoreUnavailable, LiveKitUnavailable) as exc:
                log.error("room.not_mended", kind=type(exc).__name__, reason=exc.reason)
            except Exception:  # one room's trouble is not the others'
                log.exception("room.mending_crashed")
            finally:
                room.busy = False

        room.busy = room.mended = True
        task = asyncio.create_task(mend())
        self.mending.add(task)
        task.add_done_callback(self.mending.discard)

    def _compare(self, room: _Room, look: Look, call: Watched) -> None:
        for identity in mismatched(look, call):
            if identity not in room.mismatched:
                room.mismatched.add(identity)
                because = "the agent found that its persona is not the one for this caller"
                self._alert("mismatched", because, call)
                agent = next(one for one in look.agents if one.identity == identity)
                self._journal(room, "mismatched", agent, because, call)

    async def _act(
        self, room: _Room, action: Adopt | Redispatch | Ourselves | GiveUp | EndRoom
    ) -> None:
        match action:
            case Adopt():
                await self._adopt(room, action)
            case Redispatch():
                await self._again(room, action)
            case Ourselves():
                await self._answer(room, action)
            case GiveUp(call=call, caller=caller, because=because):
                self._alert("given_up", because, call)
                self._journal(room, "given_up", caller, because, call)
                await self.livekit.remove(room.name, caller.identity)
                await self.claims.ended([call], because)
            case EndRoom(call=call, because=because):
                self.metrics.recoveries["room_ended"].inc()
                log.info("room.ended", call_id=call.call_id, because=because)
                await self.livekit.end(room.name)
                await self.claims.ended([call], because)

    async def _adopt(self, room: _Room, action: Adopt) -> None:
        self._alert("adopted", action.because, None)
        at = self.clock()
        with self._span("adopted", action.because):
            outcome = await self.inbound.take(_joined(room, action.caller))
        log.warning("call.adopted", verdict=outcome.verdict, because=outcome.because)
        self._journal_outcome(room, "adopted", action, outcome, at)

    async def _again(self, room: _Room, action: Redispatch) -> None:
        call, name = action.call, "resumed" if action.resume else "dispatched_again"
        failures = 0 if call.state == "answered" else call.failures + 1
        at = self.clock()
        claim = await self.claims.next_attempt(call, failures=failures)
        if claim is None:
            return  # somebody else has seen it too
        self._alert(name, action.because, call)
        with self._span(name, action.because, call):
            await self._clear(room, action.remove)
            if room.seen is not None:  # what was seen of the last agent says nothing about the next
                room.seen = Seen(first_at=room.seen.first_at)
            again = Again(self.fallback_agent if action.fallback else None, action.resume)
            outcome = await self.inbound.dispatch_again(_joined(room, action.caller), claim, again)
        self._journal_outcome(room, name, action, outcome, at)

    async def _answer(self, room: _Room, action: Ourselves) -> None:
        """Answer the caller ourselves; this may take a minute, and keeps only this room waiting."""
        call, caller = action.call, action.caller
        claim = await self.claims.next_attempt(call, failures=call.failures + 1)
        if claim is None or self.last_resort is None:
            return  # somebody else has seen it too
        self._alert("last_resort", action.because, call)
        with self._span("last_resort", action.because, call) as span:
            found = await self.inbound.persona_of(_joined(room, caller), call.call_id)
            language = found.persona.language if found else None
            stranded = Stranded(call, claim, caller.identity, language)
            how = await self.last_resort.answer(stranded)
            span.set_attribute("watch.how", how)
        told = replace(call, attempt=claim.attempt)
        self._journal(room, "last_resort", caller, f"{action.because}; {BECAUSE[how]}", told)

    async def _clear(self, room: _Room, zombies: Sequence[str]) -> None:
        """Take away what an earlier attempt left; failing at it must not keep the next away."""
        try:
            await self.livekit.withdraw(room.name)
            for identity in zombies:
                await self.livekit.remove(room.name, identity)
        except LiveKitUnavailable as exc:
            log.warning("room.not_cleared", reason=exc.reason)

    def _alert(self, action: str, because: str, call: Watched | None) -> None:
        self.metrics.recoveries[action].inc()
        self.announce(action, because, call.call_id if call else None)
        log.error(
            "alert.raised",
            action=action,
            because=because,
            call_id=call.call_id if call else None,
            attempt=call.attempt if call else None,
        )

    def _span(
        self, action: str, because: str, call: Watched | None = None
    ) -> AbstractContextManager[Span]:
        """Begin a span around what is done for a call: no number, no room, no name."""
        attributes = {"watch.action": action, "watch.because": because}
        if call is not None:
            attributes |= {"call.id": call.call_id}
        return self.tracer.start_as_current_span(
            "watch.mend", attributes=attributes, set_status_on_exception=False
        )

    def _journal(
        self, room: _Room, action: str, who: Participant, because: str, call: Watched
    ) -> None:
        """Write down what was done, or seen, of a call."""
        event = _joined(room, who)._replace(name=f"{WATCH}{action}")
        done = Delivered(self.clock(), 0, action, because, event=event)
        self.note(done._replace(call_id=call.call_id, attempt=call.attempt))

    def _journal_outcome(
        self, room: _Room, action: str, sent: Adopt | Redispatch, outcome: Outcome, at: float
    ) -> None:
        """Write down that an agent was sent, or was to be."""
        event = _joined(room, sent.caller)._replace(name=f"{WATCH}{action}")
        because = f"{sent.because}; {outcome.because}"
        done = Delivered(at, 0, outcome.verdict, because, outcome.decided, event)
        if trail := outcome.trail:
            done = done._replace(
                dialed=trail.dialed,
                call_id=trail.call_id,
                attempt=trail.attempt,
                origin=trail.origin,
                stages=trail.stages,
            )
        self.note(done)


def _joined(room: _Room, caller: Participant) -> Event:
    """Make the event that LiveKit would have sent of this caller."""
    return Event(
        event_id="",
        name="participant_joined",
        created_at=0.0,
        room=room.name,
        room_sid=room.sid,
        participant=caller,
    )
