"""Where the ring time of a call went: its stages, from the journal, and the slowest of them.

Times before the webhook and after the dispatch are by LiveKit's clock, the first word is by the
agent's, the rest is by ours: where clocks disagree by more than a stage took, that stage shows 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa

from personas.contract import ATTRIBUTE_ATTEMPT, ATTRIBUTE_CALL, ATTRIBUTE_FIRST_WORD
from router.db import Store
from router.principals import DEFAULT_TENANT
from router.records.call_tables import calls
from router.records.claims import claims
from router.records.entries import Entry, named, of_room
from router.records.journal import WATCH, journal
from router.routing import KIND_AGENT, KIND_SIP

#: What became of a call with these needs no further delivery.
_DONE: Final = ("dispatched", "unknown")
_JOINED: Final = "participant_joined"
_CAME: Final = (_JOINED, f"{WATCH}confirmed")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: when it ended (Unix seconds), and how long after the stage before it."""

    name: str
    at: float | None  # None: not known
    ms: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Intervention:
    """What the watch over the rooms did for a call."""

    at: float  # Unix seconds
    action: str  # adopted, dispatched_again, resumed, last_resort, given_up …
    because: str
    attempt: int | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of one call."""

    call_id: str
    state: str  # of its claim
    attempts: int
    verdict: str
    because: str
    source: str | None
    version: str | None
    deliveries: int
    stages: tuple[Stage, ...]
    slowest: str | None
    watch: tuple[Intervention, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


async def trace_of(store: Store, call_id: str, tenant: str | None = None) -> Trace | None:
    """Return what is known of a call (of *tenant*); None: it is in neither claims nor journal.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    if tenant is not None and await _tenant_of(store, call_id) != tenant:
        return None
    found = sa.select(claims.c.state, claims.c.attempt, claims.c.room_sid).where(
        claims.c.call_id == call_id
    )
    claim = await store.read(lambda connection: connection.execute(found).first())
    room_sid = claim.room_sid if claim else ""
    if claim is None:
        rooms = [one.room_sid for one in await named(store, call_id) if one.call_id == call_id]
        room_sid = next((room for room in rooms if room), "")
    if not room_sid:
        return None
    entries = await of_room(store, room_sid)
    deliveries = _of_caller(entries, call_id)
    stages = stages_of(entries, call_id)
    final = _final(deliveries, _agent(entries, call_id, deliveries))
    return Trace(
        call_id=call_id,
        state=claim.state if claim else "unknown",
        attempts=claim.attempt if claim else 0,
        verdict=final.verdict if final else "unknown",
        because=final.because if final else "the journal has no delivery of this call (any more)",
        source=final.source if final else None,
        version=final.version if final else None,
        deliveries=len([one for one in deliveries if not one.by_watch]),
        stages=stages,
        slowest=slowest_of(stages),
        watch=tuple(
            Intervention(one.received_at, _action(one), one.because, one.attempt, one.verdict)
            for one in entries
            if one.by_watch and one.call_id == call_id
        ),
    )


async def _tenant_of(store: Store, call_id: str) -> str:
    """Return whose a call is: its record knows, and the journal where there is no record."""
    record = sa.select(calls.c.tenant).where(calls.c.call_id == call_id)
    entry = (
        sa.select(journal.c.tenant)
        .where(journal.c.call_id == call_id)
        .order_by(journal.c.tenant == DEFAULT_TENANT)
        .limit(1)
    )

    def ask(connection: sa.Connection) -> str | None:
        return connection.scalar(record) or connection.scalar(entry)

    return await store.read(ask) or DEFAULT_TENANT


def slowest_of(stages: Sequence[Stage]) -> str | None:
    """Return the name of the stage that took longest."""
    known = [stage for stage in stages if stage.ms is not None]
    return max(known, key=lambda stage: stage.ms or 0.0).name if known else None


def stages_of(entries: Sequence[Entry], call_id: str) -> tuple[Stage, ...]:
    """Return the stages of a call, of all *entries* of its room, oldest first."""
    deliveries = _of_caller(entries, call_id)
    agent = _agent(entries, call_id, deliveries)
    final = _final(deliveries, agent)
    if final is None:
        return ()
    first = deliveries[0]
    steps = _Steps()
    steps.reach("room created", float((first.body.get("room") or {}).get("created_at") or 0))
    steps.reach("caller joined", float(first.participant.get("joined_at") or 0))
    _begin(steps, first)
    for before, one in pairwise(deliveries[: deliveries.index(final) + 1]):
        if one.by_watch:
            _begin(steps, one)
        elif one is final:
            steps.reach("delivered again", one.received_at, f"before it: {before.because}")
    for name, key in (("verified", "verify"), ("claim", "claim"), ("persona", "persona")):
        if not final.by_watch or key in final.stages:
            steps.take(name, final.stages.get(key))
    steps.take("dispatch", final.stages.get("dispatch"))
    steps.reach("agent joined", float(agent.participant.get("joined_at") or 0) if agent else 0)
    first_word = _first_word(entries, agent)
    steps.reach("first word", first_word, "" if first_word else "known when the agent has left")
    return tuple(steps.done)


class _Steps:
    """Puts stages one after the other."""

    def __init__(self) -> None:
        self.done: list[Stage] = []
        self._at: float | None = None

    def reach(self, name: str, at: float, note: str = "") -> None:
        """End a stage at a time; 0: that is not known."""
        if not at:
            self.done.append(Stage(name, None, None, note))
            return
        took_ms = None if self._at is None else round((at - self._at) * 1000, 1)
        if took_ms is not None and took_ms < 0:
            note, took_ms = f"clocks differ by {-took_ms:.0f} ms or more", 0.0
        self.done.append(Stage(name, at, took_ms, note))
        self._at = at

    def take(self, name: str, ms: float | None) -> None:
        """End a stage that took so long."""
        if ms is None or self._at is None:
            self.done.append(Stage(name, None, None))
            return
        self._at += ms / 1000
        self.done.append(Stage(name, self._at, ms))


def _of_caller(entries: Sequence[Entry], call_id: str) -> list[Entry]:
    """Return the deliveries that say that this caller joined; two calls may share a room."""
    joins = [
        one for one in entries if one.kind == KIND_SIP and (one.event == _JOINED or one.by_watch)
    ]
    ids = {one.attributes.get("sip.callID") for one in joins if one.call_id == call_id}
    return [
        one
        for one in joins
        if one.call_id == call_id
        or (one.call_id is None and one.attributes.get("sip.callID") in ids)
    ]


def _begin(steps: _Steps, entry: Entry) -> None:
    """Reach the stage from which on *entry* was worked on."""
    if entry.by_watch:
        steps.reach(f"watch: {_action(entry)}", entry.received_at, entry.because)
    else:
        steps.reach("webhook", entry.received_at)


def _action(entry: Entry) -> str:
    return (entry.event or "").removeprefix(WATCH)


def _agent(entries: Sequence[Entry], call_id: str, deliveries: Sequence[Entry]) -> Entry | None:
    """Return the join of the first agent that was sent to this call."""
    done = next((one for one in deliveries if one.verdict in _DONE), None)
    if done is None:
        return None
    joins = [
        one
        for one in entries
        if one.kind == KIND_AGENT and one.event in _CAME and one.received_at >= done.received_at
    ]
    ours = [one for one in joins if one.attributes.get(ATTRIBUTE_CALL) == call_id]
    return next(iter(ours or [one for one in joins if ATTRIBUTE_CALL not in one.attributes]), None)


def _final(deliveries: Sequence[Entry], agent: Entry | None) -> Entry | None:
    """Return what sent the agent that came first, else what was done last."""
    done = [one for one in deliveries if one.verdict in _DONE]
    if agent is not None:
        attempt = agent.attributes.get(ATTRIBUTE_ATTEMPT)
        sent = [one for one in done if str(one.attempt) == attempt]
        return (sent or [one for one in done if one.received_at <= agent.received_at])[-1]
    return next(iter(done[-1:] or deliveries[-1:]), None)


def _first_word(entries: Sequence[Entry], agent: Entry | None) -> float:
    """Return when the agent first spoke, which LiveKit tells when it leaves; 0: not known."""
    if agent is None:
        return 0.0
    for one in entries:
        if one.participant.get("sid") == agent.participant.get("sid"):
            try:
                return float(one.attributes[ATTRIBUTE_FIRST_WORD])
            except (KeyError, ValueError):
                continue
    return 0.0
