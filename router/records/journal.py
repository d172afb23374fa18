"""The journal: what became of each delivery, and why. Bounded by count and by age.

A delivery waits for nothing here: it is put on a list, and a task writes what is there ten times a
second. While the database is away they wait; when more comes than may wait, or the database refuses
an entry, entries are dropped and counted. Of what is no call to answer, a hundred a second are
kept: more would cost the router more than it explains.

The body is not kept: ``body`` is what the router read of it, on a list of known fields, with
numbers masked and without names of rooms and people, metadata and secrets. What it takes to decide
on a call again is personal data; it stands in ``replay`` alone, is never shown, and goes with its
row.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
import structlog
from cachetools import LRUCache
from pydantic_core import to_json

from personas.contract import (
    ATTRIBUTE_ATTEMPT,
    ATTRIBUTE_CALL,
    ATTRIBUTE_FIRST_WORD,
    ATTRIBUTE_ORIGIN,
    ATTRIBUTE_VERSION,
    Origin,
)
from personas.logs import mask
from personas.phone import DialedNumber, digits_of
from router.db import DEADLINE_S, Store, metadata
from router.errors import DeliveryRefused, StoreUnavailable
from router.principals import DEFAULT_TENANT
from router.records.outbox import WRITTEN, Notice
from router.routing import KIND_AGENT, Event

log = structlog.get_logger(__name__)

#: How events are called that no delivery told: what the watch over the rooms saw and did.
WATCH: Final = "watch."
#: What the watch does that somebody should hear of.
ALERTS: Final = frozenset(
    {"adopted", "dispatched_again", "resumed", "mismatched", "last_resort", "given_up"}
)
_ALERTS: Final = frozenset(f"{WATCH}{action}" for action in ALERTS)
Decided = Literal["answer", "ignore", "refuse"]

FLUSH_S: Final = 0.1
SLICE: Final = 8  # rows that SQLite is given in the event loop: a tenth of a millisecond or two
BATCH: Final = 100  # rows of one transaction elsewhere: a claim may have to wait for it
MAX_WAITING: Final = 2_000
MAX_ROOMS: Final = 10_000
AFTER_FAILURE_S: Final = 2.0
PRUNE_EVERY_S: Final = 60.0
PRUNE_CHUNK: Final = 500
QUIET_S: Final = 60.0  # between two log lines about the same trouble
DAY_S: Final = 86_400.0
#: Deliveries that are no call to answer: the half that is left last is for who joined and left.
OTHERS_AT_ONCE: Final = 1_000
OTHERS_PER_S: Final = 100
_PEOPLE: Final = frozenset({"participant_joined", "participant_left"})
#: Deliveries that are not ours: whoever can reach the port could flush the journal with them.
REFUSED_AT_ONCE: Final = 60
REFUSED_EVERY_S: Final = 60.0

#: Participants' attributes that are kept. Of others only the name is.
_KEPT: Final = frozenset({"sip.callID", "sip.callStatus", "sip.ruleID", "sip.trunkID"})
_NUMBERS: Final = frozenset({"sip.phoneNumber", "sip.trunkPhoneNumber"})
#: Those of agents, which our own code writes.
_AGENTS: Final = frozenset(
    {
        ATTRIBUTE_ATTEMPT,
        ATTRIBUTE_CALL,
        ATTRIBUTE_FIRST_WORD,
        ATTRIBUTE_ORIGIN,
        ATTRIBUTE_VERSION,
        "lk.agent.name",
        "lk.agent.state",
    }
)
#: What ``decide`` reads of a call, and the call's own id.
_DECIDING: Final = frozenset(
    {"sip.callID", "sip.phoneNumber", "sip.ruleID", "sip.trunkID", "sip.trunkPhoneNumber"}
)
MAX_CHARS: Final = 128
_FEWEST_DIGITS: Final = 7  # of a number whose last two may be shown

journal = sa.Table(
    "journal",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("because", sa.Text, nullable=False),
    sa.Column("decision", sa.String(8)),
    sa.Column("event_id", sa.String(64)),
    sa.Column("event", sa.String(64)),
    sa.Column("room_sid", sa.String(128)),
    sa.Column("call_id", sa.String(40)),
    sa.Column("attempt", sa.Integer),
    sa.Column("source", sa.String(32)),
    sa.Column("version", sa.String(80)),
    sa.Column("stages", sa.Text, nullable=False),
    sa.Column("body", sa.Text),
    sa.Column("replay", sa.Text),
    sa.Column("tenant", sa.String(40), nullable=False, server_default=DEFAULT_TENANT),
    sa.Column("answer_ms", sa.Float),
)
_COLUMNS: Final = tuple(column.name for column in journal.c if column.name != "id")

#: What a notice tells of an entry, and where it stands.
_TOLD: Final = tuple(
    (name, _COLUMNS.index(name))
    for name in ("received_at", "status", "verdict", "because", "event", "call_id", "attempt")
)
_TENANT, _EVENT = _COLUMNS.index("tenant"), _COLUMNS.index("event")
_CALL: Final = _COLUMNS.index("call_id")


class Delivered(NamedTuple):
    """One delivery that was answered. *stages* are milliseconds.

    Or what the watch did by itself: the event's name begins with ``WATCH``, the status is 0.
    """

    received_at: float
    status: int
    verdict: str
    because: str
    decided: Decided | None = None
    event: Event | None = None
    dialed: DialedNumber | None = None
    call_id: str | None = None
    attempt: int | None = None
    origin: Origin | None = None
    stages: Mapping[str, float] = {}
    tenant: str = DEFAULT_TENANT  # the journal fills it in
    answer_ms: float | None = None  # from the delivery of a caller to LiveKit's answer


class Journal:
    """Writes the journal into *store*. *clock* gives Unix seconds; *count* is told of every row.

    *tenant_of* says whose a number is; what else happens in the room of its call is theirs too.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_rows: int,
        days: float,
        clock: Callable[[], float] = time.time,
        count: Callable[[str, int], None] = lambda _outcome, _rows: None,
        tenant_of: Callable[[str | None], str] = lambda _number: DEFAULT_TENANT,
    ) -> None:
        self._store = store
        self._max_rows = max_rows
        self._days = days
        self._clock = clock
        self._count = count
        self._tenant_of = tenant_of
        self._rooms: LRUCache[str, str] = LRUCache(MAX_ROOMS)  # of other tenants than the first
        self._waiting: list[Delivered] = []
        self._filled = asyncio.Event()
        self._others_room = float(OTHERS_AT_ONCE)
        self._others_at = clock()
        self._refused_room = float(REFUSED_AT_ONCE)
        self._refused_at = clock()
        self._pruned_at = 0.0
        self._since_pruned = 0
        self._told_at = -QUIET_S

    def note(self, delivered: Delivered) -> None:
        """Have *delivered* written down, soon and if possible. Never raises, never waits."""
        if not self._max_rows:
            return
        if delivered.decided == "ignore" and not self._has_room_for(delivered.event):
            self._count("left_out", 1)
        elif len(self._waiting) >= MAX_WAITING:
            self._count("dropped", 1)
        else:
            self._waiting.append(delivered._replace(tenant=self._tenant(delivered)))
            if not self._filled.is_set():
                self._filled.set()

    def _tenant(self, one: Delivered) -> str:
        if one.event is None:
            return DEFAULT_TENANT
        attributes = one.event.participant.attributes if one.event.participant else {}
        number = attributes.get("sip.trunkPhoneNumber")
        if one.dialed is not None and one.dialed.number is not None:
            number = one.dialed.number.e164
        tenant = self._tenant_of(number)
        if tenant == DEFAULT_TENANT:
            return self._rooms.get(one.event.room_sid, DEFAULT_TENANT)
        self._rooms[one.event.room_sid] = tenant
        return tenant

    def _has_room_for(self, event: Event | None) -> bool:
        least = 1 if event is not None and event.name in _PEOPLE else OTHERS_AT_ONCE / 2
        if self._others_room < least:
            now = self._clock()
            gained = max(0.0, now - self._others_at) * OTHERS_PER_S
            self._others_room = min(OTHERS_AT_ONCE, self._others_room + gained)
            self._others_at = now
            if self._others_room < least:
                return False
        self._others_room -= 1
        return True

    def note_refused(self, received_at: float, refused: DeliveryRefused) -> None:
        """Have it written down that a delivery was not ours; of a flood, one a minute."""
        now = self._clock()
        gained = max(0.0, now - self._refused_at) / REFUSED_EVERY_S
        self._refused_room = min(REFUSED_AT_ONCE, self._refused_room + gained)
        self._refused_at = now
        if self._refused_room < 1:
            self._count("left_out", 1)
            return
        self._refused_room -= 1
        self.note(Delivered(received_at, refused.status, "refused", refused.reason))

    def __len__(self) -> int:
        """Return how many wait to be written."""
        return len(self._waiting)

    async def run(self) -> None:
        """Write and prune until cancelled."""
        while True:
            try:
                async with asyncio.timeout(PRUNE_EVERY_S):
                    await self._filled.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(FLUSH_S)
            if not await self.write():
                await asyncio.sleep(AFTER_FAILURE_S)
            elif self._prune_is_due():
                await self.prune()

    async def write(self) -> bool:
        """Write what is waiting; False: the database did not take it."""
        while self._waiting:
            batch, self._waiting = self._waiting[:SLICE], self._waiting[SLICE:]
            if self._quickly(batch):
                await asyncio.sleep(0)  # calls come first
            else:
                more = BATCH - SLICE
                batch, self._waiting = batch + self._waiting[:more], self._waiting[more:]
                if not await self._written(batch):
                    return False
            self._count("written", len(batch))
            self._since_pruned += len(batch)
        self._filled.clear()
        return True

    async def prune(self) -> None:
        """Remove what is too old, and the oldest of what is too much, a little at a time."""
        self._pruned_at, self._since_pruned = self._clock(), 0
        before = self._clock() - self._days * DAY_S
        while True:
            try:
                removed = await self._store.write(lambda c: _prune(c, self._max_rows, before))
            except StoreUnavailable as exc:
                self._tell(exc.reason)
                return
            if removed < PRUNE_CHUNK:
                return

    async def aclose(self) -> None:
        """Write what is still waiting, if the database takes it in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                await self.write()

    def _prune_is_due(self) -> bool:
        return self._clock() - self._pruned_at >= PRUNE_EVERY_S or self._since_pruned >= max(
            BATCH, self._max_rows // 50
        )

    def _quickly(self, batch: Sequence[Delivered]) -> bool:
        """Write *batch* here and now; False: it was not done, whatever the reason."""
        if not self._store.is_sqlite:
            return False
        try:
            rows = [_row(one) for one in batch]
            notices = [(_insert_notice("?"), one) for one in _notices(rows, self._clock())]
            return self._store.quick_many(_insert("?"), rows, *notices)
        except Exception:  # noqa: BLE001  # whoever tries next says what is wrong
            return False

    async def _written(self, batch: Sequence[Delivered]) -> bool:
        try:
            # No deadline: it has to be known whether it was done.
            await self._store.write(lambda c: _insert_all(c, batch, self._clock()), patient=True)
        except StoreUnavailable as exc:
            self._tell(exc.reason)
            if exc.passing:
                self._waiting[:0] = batch
                return False
        except Exception as exc:  # noqa: BLE001  # a defect of ours must not end the journal
            self._tell(type(exc).__name__)
        else:
            return True
        self._count("dropped", len(batch))
        return False

    def _tell(self, reason: str) -> None:
        now = self._clock()
        if not 0 <= now - self._told_at < QUIET_S:
            self._told_at = now
            log.error("journal.not_written", reason=reason)


_masked = lru_cache(maxsize=1024)(mask)  # for words that are nearly always the same


@cache
def _insert(place: str) -> str:
    # Text and tuples straight to the driver: a third of the time that building the insert takes.
    places = ", ".join([place] * len(_COLUMNS))
    return f"INSERT INTO journal ({', '.join(_COLUMNS)}) VALUES ({places})"  # noqa: S608  # ours


@cache
def _insert_notice(place: str) -> str:
    places = ", ".join([place] * len(WRITTEN))
    return f"INSERT INTO outbox ({', '.join(WRITTEN)}) VALUES ({places})"  # noqa: S608  # ours


def _notices(rows: Sequence[tuple[Any, ...]], now: float) -> list[tuple[Any, ...]]:
    """Return what *rows* of the journal, written together, tell: one for a tenant, and alerts."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        entries.setdefault(row[_TENANT], []).append({name: row[place] for name, place in _TOLD})
    told = [Notice.of("deliveries", now, tenant, entries=some) for tenant, some in entries.items()]
    told += [
        Notice.of("alert", now, row[_TENANT], row[_CALL], action=row[_EVENT].removeprefix(WATCH))
        for row in rows
        if row[_EVENT] in _ALERTS
    ]
    return [tuple(notice.row().values()) for notice in told]


# ---- in the store's threads ---------------------------------------------------------------


def _insert_all(connection: sa.Connection, batch: Sequence[Delivered], now: float) -> None:
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    rows = [_row(one) for one in batch]
    connection.exec_driver_sql(_insert(place), rows)
    connection.exec_driver_sql(_insert_notice(place), _notices(rows, now))


def _prune(connection: sa.Connection, max_rows: int, before: float) -> int:
    """Remove up to ``PRUNE_CHUNK`` rows, the oldest first; return how many there were."""
    newest_first = sa.select(journal.c.id).order_by(journal.c.id.desc())
    last_over = connection.scalar(newest_first.offset(max_rows).limit(1))
    oldest = connection.execute(
        sa.select(journal.c.id, journal.c.received_at).order_by(journal.c.id).limit(PRUNE_CHUNK)
    )
    doomed = [
        row.id
        for row in oldest
        if row.received_at < before or (last_over is not None and row.id <= last_over)
    ]
    if doomed:
        connection.execute(sa.delete(journal).where(journal.c.id.in_(doomed)))
    return len(doomed)


def _row(one: Delivered) -> tuple[Any, ...]:
    """Return what is written of *one*, in the order of ``_COLUMNS``."""
    event, origin, call_id = one.event, one.origin, one.call_id
    event_id = name = room_sid = body = replay = None
    if event is not None:
        event_id = _word(event.event_id, 64)
        name = _word(_masked(event.name), 64)
        room_sid = _word(event.room_sid, 128)
        body = _json(shown(event))
        call_id = call_id or _call_of_agent(event)
        if one.decided in {"answer", "refuse"} or one.verdict == "crashed":
            replay = _json(_replay(event, one.dialed))
    return (
        one.received_at,
        one.status,
        one.verdict,
        _masked(one.because),
        one.decided,
        event_id,
        name,
        room_sid,
        call_id,
        one.attempt,
        origin.source if origin else None,
        origin.version if origin else None,
        _json(one.stages),
        body,
        replay,
        one.tenant,
        one.answer_ms,
    )


def _json(value: Mapping[str, Any]) -> str:
    return to_json(value).decode()  # a tenth of the time that the standard library takes


def _word(text: str, most: int) -> str:
    return text.replace("\0", "")[:most]  # PostgreSQL's texts hold no NUL


def _call_of_agent(event: Event) -> str | None:
    participant = event.participant
    if participant is None or participant.kind != KIND_AGENT:
        return None
    return _word(participant.attributes.get(ATTRIBUTE_CALL, ""), 40) or None


def shown(event: Event) -> dict[str, Any]:
    """Return what may be shown of *event*: no number, no name, nothing that somebody said."""
    body: dict[str, Any] = {
        "event": _masked(event.name),
        "created_at": event.created_at,
        "room": {"sid": event.room_sid, "created_at": event.room_created_at},
    }
    participant = event.participant
    if participant is not None:
        agent = participant.kind == KIND_AGENT
        body["participant"] = {
            "sid": participant.sid[:MAX_CHARS],
            "kind": participant.kind[:MAX_CHARS],
            "joined_at": participant.joined_at,
            "attributes": {
                _masked(name[:MAX_CHARS]): _shown_value(name, value[:MAX_CHARS], agent=agent)
                for name, value in participant.attributes.items()
            },
        }
    return body


def _shown_value(name: str, value: str, *, agent: bool) -> str:
    if name in _KEPT:
        return mask(value)
    if name in _NUMBERS:
        digits = digits_of(value) or ""
        return f"[…{digits[-2:]}]" if len(digits) >= _FEWEST_DIGITS else "[…]"
    return value if agent and name in _AGENTS else "…"


def _replay(event: Event, dialed: DialedNumber | None) -> dict[str, Any]:
    participant = event.participant
    number = dialed.number if dialed is not None else None
    return {
        "room": event.room,
        "number": number.e164 if number else None,
        "region": number.region if number else None,
        "identity": participant.identity if participant else "",
        "attributes": {
            name: value
            for name, value in (participant.attributes if participant else {}).items()
            if name in _DECIDING
        },
    }
