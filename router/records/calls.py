"""Records of calls: begun when an agent is dispatched, filled by reports, closed in any case.

A report may come twice, late or out of order: an event is stored once by (call_id, attempt, seq),
and what the record says of the call is made anew from all of its events.
"""

import asyncio
import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from personas.reports import (
    AnyCallEvent,
    CallReport,
    ClosedEvent,
    Fact,
    FactEvent,
    read_event,
)
from router.db import Store, sqlite_text
from router.errors import StoreUnavailable
from router.principals import DEFAULT_TENANT
from router.records.archive import Archive
from router.records.call_news import shared
from router.records.call_tables import calls, events, facts
from router.records.claims import claims
from router.records.erasures import was_erased
from router.records.notices import announce
from router.records.outbox import NOTE_TEXT, Notice, note
from router.records.retention import delete_calls
from router.records.rung import note_rung
from router.records.summary import KINDS
from router.records.turns import (
    COUNTED,
    ROUTER,
    Turned,
    changes,
    ends_of,
    notices_of,
    ring,
    told_together,
    turn_of,
    turned_of,
)

log = structlog.get_logger(__name__)

QUALIFICATION: Final = "qualification"
SILENT_S: Final = 6 * 3600.0  # after that a call of which nothing was heard is taken to be over
VANISHED_S: Final = 20.0  # how long a call must be silent to be asked for
CHUNK: Final = 200  # calls of one transaction
FEW: Final = 32  # calls of one in the event loop
MAX_FINISHED: Final = 10_000  # rooms; what is beyond is found by ``silent`` a little later

_ONCE: Final = ("room", "room_sid", "sip_call_id", "caller", "dialed_number", "trunk")
_OF_CALL: Final = ("language", "started_at", "direction", "campaign_id", "lead_id", "tenant")
_PERSONA: Final = ("persona_name", "persona_version", "persona_origin", "persona_because")

# To build a question takes longer than to answer it.
_OPEN: Final = (
    sa.select(calls.c.call_id, calls.c.room_sid)
    .where(calls.c.ended_at.is_(None))
    .order_by(calls.c.call_id)  # the same order everywhere: nobody waits in a circle
    .with_for_update()
)
_OPEN_OF: Final = _OPEN.where(calls.c.call_id.in_(sa.bindparam("call_ids", expanding=True)))
_OPEN_IN: Final = _OPEN.where(calls.c.room_sid.in_(sa.bindparam("room_sids", expanding=True)))
_TOLD_OF: Final = sa.select(events.c.call_id, events.c.attempt, events.c.body).where(
    events.c.call_id.in_(sa.bindparam("call_ids", expanding=True)), events.c.kind.in_(KINDS)
)
_RECORDS_OF: Final = sa.select(calls).where(
    calls.c.call_id.in_(sa.bindparam("call_ids", expanding=True))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """What the router knows of a call when it sends an agent."""

    call_id: str
    attempt: int
    room: str
    room_sid: str | None
    sip_call_id: str | None
    caller: str | None
    dialed_number: str | None
    trunk: str | None
    persona_name: str | None
    persona_version: str
    persona_origin: str
    persona_because: str
    language: str | None
    started_at: float  # unix seconds: the webhook, or the order to dial
    direction: Literal["inbound", "outbound"] = "inbound"
    campaign_id: str | None = None
    lead_id: str | None = None
    tenant: str | None = None  # None: that of the dialed number


@dataclass(frozen=True, slots=True)
class Open:
    """A call that is not over, as far as its record says."""

    call_id: str
    room_sid: str | None


class Calls(Archive):
    """The records. *clock* gives Unix seconds; *notice* hears of what is new.

    *tenant_of* says whose a number is.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        notice: Callable[[Turned], None] = lambda _turned: None,
        tenant_of: Callable[..., str] = lambda *_numbers: DEFAULT_TENANT,
    ) -> None:
        super().__init__(store)
        self._clock = clock
        self._notice = notice
        self._tenant_of = tenant_of
        self._dialect = sqlite if store.is_sqlite else postgresql
        self._begin = self._begin_statement()
        columns = [column.name for column in calls.c]
        self._begin_text = sqlite_text(self._begin, columns) if store.is_sqlite else ""
        self._new_call = (
            self._dialect.insert(calls).on_conflict_do_nothing().returning(calls.c.call_id)
        )
        self._own_event = self._dialect.insert(events).on_conflict_do_nothing()
        self._new_event = self._own_event.returning(events.c.seq)
        self._new_fact = self._dialect.insert(facts).on_conflict_do_nothing()
        self._finished: dict[str, float] = {}  # rooms that are to be looked at, and when they ended

    # ---- what happens to a call ----

    def dispatched(self, call: Dispatched) -> None:
        """Begin or go on with a record, soon; the first report begins it if that fails."""
        row = _empty(call.call_id, self._clock()) | {
            name: getattr(call, name) for name in (*_ONCE, *_PERSONA, *_OF_CALL)
        }
        row |= {"attempts": call.attempt, "opened_by": "router"}
        row["tenant"] = call.tenant or self._tenant_of(call.dialed_number)
        kind = "call.began" if call.attempt == 1 else "call.changed"
        notice = Notice.of(
            kind, row["heard_at"], row["tenant"], call.call_id, direction=call.direction
        )

        def begin(connection: sa.Connection) -> None:
            connection.execute(self._begin, row)
            note(connection, [notice])

        def raw(connection: sqlite3.Connection) -> None:
            connection.execute(self._begin_text, row).close()
            connection.execute(NOTE_TEXT, notice.row()).close()

        # Calls that begin together share a transaction, and the pages of nine indices.
        self._store.write_soon(begin, _not_written, raw=raw)

    async def take(self, report: CallReport) -> int:
        """Store a report; return the highest seq up to which all events of the attempt are stored.

        Raises:
            StoreUnavailable: it may or may not be stored; send it again.
        """
        now = self._clock()
        acknowledged, turned = await self._store.write(
            lambda connection: self._take(connection, report, now)
        )
        self._notice_all(turned)
        return acknowledged

    async def ended(self, call_ids: Sequence[str], because: str) -> None:
        """Close what is open of these records; an agent may know better, now or later.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._clock()
        self._notice_all(await self._store.write(lambda c: self._end(c, call_ids, because, now)))

    def _notice_all(self, turned: Sequence[Turned]) -> None:
        for one in turned:
            self._notice(one)

    def _end(
        self, connection: sa.Connection, call_ids: Collection[str], because: str, at: float
    ) -> list[Turned]:
        found = connection.execute(_OPEN_OF, {"call_ids": list(call_ids)}).all()
        return self._close(connection, {row.call_id: (because, at) for row in found})

    def room_finished(self, room_sid: str) -> None:
        """Have what is open in a room closed by ``close_finished``, if no agent does it before."""
        if len(self._finished) < MAX_FINISHED:
            self._finished.setdefault(room_sid, self._clock())

    # ---- housekeeping ----

    async def close_finished(self) -> None:
        """Close what is open in rooms that have finished, many in one transaction.

        Raises:
            StoreUnavailable: some may be closed; the next time goes on with the rest.
        """
        while self._finished:
            some = dict(itertools.islice(self._finished.items(), FEW))
            turned = self._store.at_once(partial(self._close_rooms, rooms=some))
            if turned is None:
                some = dict(itertools.islice(self._finished.items(), CHUNK))
                turned = await self._store.write(partial(self._close_rooms, rooms=some))
            for room_sid in some:
                del self._finished[room_sid]
            self._notice_all(turned)
            await asyncio.sleep(0)  # calls come first

    async def close_ended(self) -> int:
        """Close records whose claim has ended; return how many."""
        ended = (
            sa.select(calls.c.call_id, claims.c.ended_because)
            .join(claims, claims.c.call_id == calls.c.call_id)
            .where(calls.c.ended_at.is_(None), claims.c.state == "ended")
            .limit(CHUNK)
        )
        found = await self._store.read(lambda connection: connection.execute(ended).all())
        because_of: dict[str, list[str]] = {}
        for row in found:
            because_of.setdefault(row.ended_because or "the call ended", []).append(row.call_id)
        for because, call_ids in because_of.items():
            await self.ended(call_ids, because)
        return len(found)

    async def silent(self) -> list[Open]:
        """Return the open calls of which nothing was heard for a moment, longest silent first."""
        select = (
            sa.select(calls.c.call_id, calls.c.room_sid)
            .where(calls.c.ended_at.is_(None), calls.c.heard_at < self._clock() - VANISHED_S)
            .order_by(calls.c.heard_at)
            .limit(1_000)
        )
        rows = await self._store.read(lambda connection: connection.execute(select).all())
        return [Open(*row) for row in rows]

    async def give_up_silent(self) -> int:
        """Close records of which nothing was heard for ``SILENT_S``; return how many."""
        old = (
            sa.select(calls.c.call_id)
            .where(calls.c.ended_at.is_(None), calls.c.heard_at < self._clock() - SILENT_S)
            .limit(CHUNK)
        )
        now = self._clock()

        def close(connection: sa.Connection) -> list[Turned]:
            found = connection.execute(old).scalars().all()
            return self._end(connection, found, "nothing was heard of it any more", now)

        turned = await self._store.write(close)
        self._notice_all(turned)
        return len(turned)

    # ---- in a transaction ----

    def _take(
        self, connection: sa.Connection, report: CallReport, now: float
    ) -> tuple[int, Sequence[Turned]]:
        turned: list[Turned] = []
        call_id, attempt = report.call_id, report.attempt
        by_seq = {event.seq: event for event in report.events}
        rows = [_event_row(call_id, event) for event in by_seq.values()]
        stored = connection.execute(self._new_event, rows).scalars().all()
        if new := [by_seq[seq] for seq in stored]:
            turned.append(Turned(events=tuple(new)))
            begun = min(event.at for event in new)
            row = _empty(call_id, now) | {"started_at": begun, "attempts": attempt}
            first = connection.execute(self._new_call, row).first() is not None
            if first and was_erased(connection, call_id):
                delete_calls(connection, [call_id])
                return max(by_seq), ()
            # It locks the call's row, so that of two reports the later one sees all of the first.
            tenant = self._count(connection, call_id, new, now)
            told = [event for event in new if isinstance(event, FactEvent)]
            notices = notices_of(call_id, tenant, new, now)
            if first:
                notices.append(Notice.of("call.began", now, tenant, call_id))
            if told:
                self._note_facts(connection, call_id, told)
            if any(event.kind in KINDS for event in new):
                values = self._qualification(connection, call_id, told)
                turned += self._summarise(connection, {call_id: values}, notices)
            else:
                values = self._qualification(connection, call_id, told)
                if values:
                    self._update(connection, call_id, values)
                note(connection, sorted(notices, key=turn_of))
            # After the record is made: the same report may have told who the caller is.
            news = shared(connection, call_id, attempt, [event.seq for event in told])
            announce(connection, news + ends_of(turned), now)
        return _acknowledged(connection, call_id, attempt), turned

    def _note_facts(
        self, connection: sa.Connection, call_id: str, told: Sequence[FactEvent]
    ) -> None:
        call = connection.execute(
            sa.select(calls.c.caller, calls.c.tenant).where(calls.c.call_id == call_id)
        ).one()
        rows = [
            {
                "call_id": call_id,
                "attempt": fact.attempt,
                "seq": fact.seq,
                "fact_id": fact.id,
                "tenant": call.tenant,
                "caller": call.caller,
                "at": fact.at,
                "category": fact.category,
                "information": fact.information,
            }
            for fact in told
        ]
        connection.execute(self._new_fact, rows)

    @staticmethod
    def _count(
        connection: sa.Connection, call_id: str, new: Sequence[AnyCallEvent], now: float
    ) -> str:
        """Count what is new in the call's record; return whose call it is."""
        attempt, begun = new[0].attempt, min(event.at for event in new)
        row = calls.c
        earlier = (row.opened_by == "agent") & (row.started_at > begun)
        values: dict[str, Any] = {
            "heard_at": now,
            "started_at": sa.case((earlier, begun), else_=row.started_at),
            "attempts": sa.case((row.attempts < attempt, attempt), else_=row.attempts),
        }
        for kind, number in Counter(event.kind for event in new).items():
            if kind in COUNTED:
                column = calls.c[COUNTED[kind]]
                values[column.name] = column + number
        update = sa.update(calls).where(calls.c.call_id == call_id).values(**values)
        return str(connection.execute(update.returning(calls.c.tenant)).scalar_one())

    @staticmethod
    def _qualification(
        connection: sa.Connection, call_id: str, told: Iterable[Fact]
    ) -> dict[str, Any]:
        """Return what the call is qualified as, if *told* may have changed it."""
        if not any(fact.category == QUALIFICATION for fact in told):
            return {}
        latest = (
            sa.select(facts.c.information)
            .where(facts.c.call_id == call_id, facts.c.category == QUALIFICATION)
            .order_by(facts.c.attempt.desc(), facts.c.seq.desc())
            .limit(1)
        )
        return {"qualification": connection.execute(latest).scalar_one()[:200]}

    def _close_rooms(self, connection: sa.Connection, rooms: Mapping[str, float]) -> list[Turned]:
        found = connection.execute(_OPEN_IN, {"room_sids": list(rooms)}).all()
        ends = {row.call_id: ("the room was closed", rooms[row.room_sid]) for row in found}
        return self._close(connection, ends)

    def _close(
        self, connection: sa.Connection, ends: Mapping[str, tuple[str, float]]
    ) -> list[Turned]:
        """Close records that are open, for a reason and at a time each."""
        if not ends:
            return []
        rows = [
            _event_row(
                call_id,
                ClosedEvent(
                    seq=1, attempt=1, at=at, reason=because, disposition="", duration_s=0.0
                ),
            )
            | {"attempt": ROUTER}
            for call_id, (because, at) in ends.items()
        ]
        connection.execute(self._own_event, rows)
        turned = self._summarise(connection, {call_id: {} for call_id in ends})
        announce(connection, ends_of(turned), self._clock())
        return turned

    def _summarise(
        self,
        connection: sa.Connection,
        more: Mapping[str, Mapping[str, Any]],
        along: Sequence[Notice] = (),
    ) -> list[Turned]:
        """Make each record say what all events of its call say together, and what *more* has.

        What changes by it is noted, with what is to be noted *along*.
        """
        notices = list(along)
        told: dict[str, list[tuple[int, AnyCallEvent]]] = {call_id: [] for call_id in more}
        of = {"call_ids": list(more)}
        for row in connection.execute(_TOLD_OF, of):
            told[row.call_id].append((row.attempt, read_event(row.body)))
        changed: dict[tuple[str, ...], list[dict[str, Any]]] = {}  # by which columns change
        turned = []
        for before in connection.execute(_RECORDS_OF, of).all():
            call_id = before.call_id
            columns = {**told_together(told[call_id]), **more[call_id]}
            columns |= ring(before, columns)
            notices += changes(before, columns, self._clock())
            if before.opened_by == "agent" and before.tenant == DEFAULT_TENANT:
                numbers = columns.get("dialed_number"), columns.get("caller")
                columns["tenant"] = self._tenant_of(*numbers)
            record = {**before._mapping, **columns}  # noqa: SLF001 - the way to a row's names
            note_rung(connection, record)
            turned.append(turned_of(before, record))
            new = {f"new_{name}": value for name, value in columns.items()}
            changed.setdefault(tuple(sorted(columns)), []).append({**new, "of_call": call_id})
            of_facts = {"caller": before.caller, "tenant": before.tenant}
            known = {name: columns[name] for name in of_facts if columns.get(name) is not None}
            if of_facts | known != of_facts:
                connection.execute(sa.update(facts).where(facts.c.call_id == call_id).values(known))
        for names, rows in changed.items():
            update = sa.update(calls).where(calls.c.call_id == sa.bindparam("of_call"))
            values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
            connection.execute(update.values(values), rows)
        note(connection, sorted(notices, key=turn_of))
        return turned

    @staticmethod
    def _update(connection: sa.Connection, call_id: str, values: Mapping[str, Any]) -> None:
        connection.execute(sa.update(calls).where(calls.c.call_id == call_id).values(**values))

    def _begin_statement(self) -> Any:
        insert = self._dialect.insert(calls)
        new, row = insert.excluded, calls.c
        later = row.attempts < new.attempts
        first, ours = row.started_at <= new.started_at, row.opened_by == new.opened_by
        known = {name: sa.func.coalesce(row[name], new[name]) for name in (*_ONCE, "language")}
        persona = {name: sa.case((later, new[name]), else_=row[name]) for name in _PERSONA}
        return insert.on_conflict_do_update(
            index_elements=[row.call_id],
            set_={
                **known,
                **persona,
                "attempts": sa.case((later, new.attempts), else_=row.attempts),
                "started_at": sa.case((first & ours, row.started_at), else_=new.started_at),
                "opened_by": new.opened_by,
                "tenant": new.tenant,
                "heard_at": new.heard_at,
            },
        )


def _not_written(error: StoreUnavailable) -> None:
    log.error("record.not_written", reason=error.reason)


def _empty(call_id: str, now: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(column.name for column in calls.c)
    row |= dict.fromkeys(COUNTED.values(), 0)
    row |= {
        "call_id": call_id,
        "tenant": DEFAULT_TENANT,
        "direction": "inbound",
        "opened_by": "agent",
    }
    return row | {"attempts": 1, "started_at": now, "heard_at": now}


def _event_row(call_id: str, event: AnyCallEvent) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "attempt": event.attempt,
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "body": event.model_dump_json(),
    }


def _acknowledged(connection: sa.Connection, call_id: str, attempt: int) -> int:
    of_attempt = (events.c.call_id == call_id) & (events.c.attempt == attempt)
    counted = sa.select(sa.func.count(), sa.func.max(events.c.seq)).where(of_attempt)
    count, highest = connection.execute(counted).one()
    if count == highest:
        return int(highest)
    seqs = sa.select(events.c.seq).where(of_attempt).order_by(events.c.seq)
    reached = 0
    for seq in connection.execute(seqs).scalars():
        if seq != reached + 1:
            break
        reached = seq
    return reached
