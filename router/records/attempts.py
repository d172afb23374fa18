"""Attempts to call somebody: one row for each dial, committed before it.

The gate's verdict and the row are one transaction, so nobody is dialed against the gate, and a
phone that may have rung has a row that says so. At most one attempt of a lead, and of a number, is
open: two unique indexes hold it. An attempt that the gate refused has a row too, closed at once,
with the verdict and what it rests on; it is no call.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.campaigns.gate import GateVerdict
from router.campaigns.leads import Lead
from router.campaigns.model import Campaign
from router.campaigns.resolution import NOTHING_HEARD, Heard
from router.db import Store, metadata
from router.records.campaigns import KnownCampaign
from router.records.outbox import Notice, note

State: TypeAlias = Literal[
    "claimed",  # nothing was sent yet
    "dialing",  # the order to dial may be with an agent
    "answered",
    "no_answer",
    "busy",
    "declined",
    "invalid_number",
    "voicemail",
    "transferred",
    "canceled",
    "failed",
    "uncertain",  # a phone may have rung: it is not dialed again by itself
    "refused",  # by the gate: it was no call
]
IN_FLIGHT: Final[frozenset[State]] = frozenset({"claimed", "dialing", "answered"})
ROOM_PREFIX: Final = "out-"
_ID_CHARS: Final = 32
_HEARD: Final = tuple(field.name for field in fields(Heard))
_TOLD: Final = ("attempt_id", "tenant", "campaign", "state")

call_attempt = sa.Table(
    "call_attempt",
    metadata,
    sa.Column("attempt_id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("campaign_version", sa.String(80), nullable=False),
    sa.Column("run_id", sa.String(32)),
    sa.Column("list_id", sa.String(16)),
    sa.Column("position", sa.Integer),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("lead_id", sa.String(64), nullable=False),
    sa.Column("number", sa.String(20), nullable=False),
    sa.Column("trunk", sa.String(100), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("room", sa.String(64), nullable=False),
    sa.Column("identity", sa.String(64), nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("claimed_at", sa.Float, nullable=False),
    sa.Column("dialed_at", sa.Float),
    sa.Column("answered_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("disposition", sa.String(32)),
    sa.Column("because", sa.Text, nullable=False),
    sa.Column("hang_up", sa.String(200)),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),
    sa.Column("agent_seen_at", sa.Float),
    sa.Column("callee_seen_at", sa.Float),
    sa.Column("left_at", sa.Float),
    sa.Column("left_as", sa.String(16)),
    sa.Column("room_gone_at", sa.Float),
    sa.Column("adopted_at", sa.Float),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Whom to call for what; *run_id*, *list_id* and *position* are of a campaign's run."""

    tenant: str
    known: KnownCampaign
    campaign_version: str
    lead: Lead
    lead_id: str  # ``<list>:<position>``, or the number of somebody who is on no list
    trunk: str = ""
    run_id: str | None = None
    list_id: str | None = None
    position: int | None = None
    tries: int = 1  # of this lead in this run, this one included

    @property
    def campaign(self) -> Campaign:
        """The campaign as it is now."""
        return self.known.campaign


@dataclass(frozen=True, slots=True)
class Attempt:
    """One dial, as its row says; times are Unix seconds."""

    attempt_id: str  # the call's id too: its record has the same
    tenant: str
    campaign: str
    campaign_version: str
    run_id: str | None
    list_id: str | None
    position: int | None
    tries: int
    lead_id: str
    number: str  # E.164
    trunk: str
    state: State
    room: str
    identity: str  # of the callee's participant
    owner: str  # the router that looks after it
    verdict: Mapping[str, Any]
    claimed_at: float
    dialed_at: float | None
    answered_at: float | None
    ended_at: float | None
    disposition: str | None
    because: str
    hang_up: str | None  # why it shall be hung up; None: it shall not
    note: str
    settled: bool  # what follows from its end has been done: another try, or none
    adopted_at: float | None  # first, by a router other than the one that claimed it
    heard: Heard  # from LiveKit's events

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody was called, and why: the gate's word, or ``being_called``."""

    because: str
    next_at: float | None = None  # Unix seconds: when the hours allow it


Judge: TypeAlias = Callable[[sa.Connection, Order, float], GateVerdict]


class Attempts:
    """The rows. *clock* gives Unix seconds; *owner* names this router; *judge* asks the gate."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        owner: str,
        judge: Judge,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._judge = judge
        self.owner = owner
        dialect = sqlite if store.is_sqlite else postgresql
        self._insert = (
            dialect.insert(call_attempt)
            .on_conflict_do_nothing()
            .returning(call_attempt.c.attempt_id)
        )

    # ---- before a dial ----

    async def claim(self, order: Order) -> Attempt | Refused:
        """Ask the gate and write the row, in one transaction; nothing is dialed unless it is there.

        Raises:
            StoreUnavailable: it may be there; do not dial.
        """
        return await self._store.write(lambda connection: self.claim_in(connection, order))

    def claim_in(self, connection: sa.Connection, order: Order) -> Attempt | Refused:
        """Do as ``claim`` does, in somebody else's transaction."""
        at = self._clock()
        verdict = self._judge(connection, order, at)
        row = self._row(order, verdict, at)
        if not verdict.allowed:
            if verdict.next_at is None:
                closed = {"state": "refused", "disposition": "refused", "ended_at": at}
                connection.execute(self._insert, row | closed | {"settled": True})
                note(connection, [_changed(row | closed, at)])
            return Refused(verdict.because, verdict.next_at)
        if connection.execute(self._insert, row).first() is None:
            return Refused("being_called")
        note(connection, [_changed(row, at)])
        return attempt_of(row)

    async def dialing(self, attempt_id: str) -> bool:
        """Say that the order to dial is about to be sent; False: it must not be, any more."""
        mine = (
            (call_attempt.c.attempt_id == attempt_id)
            & (call_attempt.c.state == "claimed")
            & (call_attempt.c.owner == self.owner)
            & call_attempt.c.ended_at.is_(None)
            & call_attempt.c.hang_up.is_(None)
        )
        values = {"state": "dialing", "dialed_at": self._clock()}
        return await self._change(sa.update(call_attempt).where(mine).values(values))

    # ---- what becomes of it ----

    async def answered(self, attempt_id: str, at: float) -> bool:
        """Say that somebody, or something, picked up."""
        ringing = (call_attempt.c.attempt_id == attempt_id) & call_attempt.c.state.in_(
            ("claimed", "dialing")
        )
        update = sa.update(call_attempt).where(ringing, call_attempt.c.ended_at.is_(None))
        return await self._change(update.values(state="answered", answered_at=at))

    async def end(self, attempt_id: str, state: State, because: str) -> bool:
        """Close it; False: it is closed already.

        An ``answered`` attempt stays so, whatever *state* says.
        """
        return await self._store.write(
            lambda c: self.end_in(c, attempt_id, state, because, self._clock())
        )

    def end_in(
        self, connection: sa.Connection, attempt_id: str, state: State, because: str, at: float
    ) -> bool:
        """Do as ``end`` does, in somebody else's transaction."""
        row = call_attempt.c
        spoke = row.state == "answered"
        update = (
            sa.update(call_attempt)
            .where(row.attempt_id == attempt_id, row.ended_at.is_(None))
            .values(
                state=sa.case((spoke, row.state), else_=state),
                disposition=sa.case((spoke, "answered"), else_=state),
                because=because[:1000],
                ended_at=at,
            )
        )
        return bool(change_in(connection, update, at))

    async def told(self, attempt_id: str, state: State, because: str) -> bool:
        """Close it as its agent says, who knows best; late news mend what was uncertain.

        False: it is closed already, otherwise than by giving up.
        """
        row = call_attempt.c
        said: Any = state
        if state in {"no_answer", "failed", "uncertain"}:  # as it looks to an agent that is cut off
            said = sa.case((row.hang_up.is_not(None), "canceled"), else_=state)
        update = (
            sa.update(call_attempt)
            .where(
                row.attempt_id == attempt_id, row.ended_at.is_(None) | (row.state == "uncertain")
            )
            .values(
                state=said,
                disposition=said,
                because=because[:1000],
                ended_at=sa.func.coalesce(row.ended_at, self._clock()),
            )
        )
        return await self._change(update)

    async def note_heard(self, told: Mapping[str, Heard]) -> None:
        """Keep what events told of open attempts, by their ids, for whichever router sees to them.

        Of agents the latest news count, of ends the first.
        """
        row = call_attempt.c
        said: Mapping[str, Any] = {name: sa.bindparam(f"heard_{name}") for name in _HEARD}
        joined = {"agent_seen_at", "callee_seen_at"}
        values = {
            name: sa.func.coalesce(new, row[name])
            if name in joined
            else sa.func.coalesce(row[name], new)
            for name, new in said.items()
        }
        same = (row.attempt_id == sa.bindparam("of_attempt")) & row.ended_at.is_(None)
        update = sa.update(call_attempt).where(same).values(values)
        rows = [
            {"of_attempt": attempt_id, **{f"heard_{name}": one for name, one in asdict(of).items()}}
            for attempt_id, of in sorted(told.items())
        ]
        await self._store.write(lambda c: c.execute(update, rows))

    async def want_hang_up(
        self,
        because: str,
        *,
        attempt_id: str | None = None,
        run_id: str | None = None,
        number: str | None = None,
        campaign: str | None = None,
        tenant: str | None = None,
    ) -> Sequence[str]:
        """Have the open attempts that fit hung up, by whichever router sees it first.

        Return their ids. What is ``None`` does not matter; at least one says which are meant.
        """
        wanted = {
            "attempt_id": attempt_id,
            "run_id": run_id,
            "number": number,
            "campaign": campaign,
            "tenant": tenant,
        }
        conditions = [
            call_attempt.c[name] == value for name, value in wanted.items() if value is not None
        ]
        update = (
            sa.update(call_attempt)
            .where(call_attempt.c.ended_at.is_(None), *conditions)
            .values(hang_up=sa.func.coalesce(call_attempt.c.hang_up, because[:200]))
        )
        at = self._clock()
        return await self._store.write(lambda c: change_in(c, update, at))

    async def adopt(self, attempt: Attempt) -> bool:
        """Look after an attempt whose router has died; False: another one does."""
        same = (call_attempt.c.attempt_id == attempt.attempt_id) & (
            call_attempt.c.owner == attempt.owner
        )
        first = sa.func.coalesce(call_attempt.c.adopted_at, self._clock())
        update = sa.update(call_attempt).where(same).values(owner=self.owner, adopted_at=first)
        return await self._store.write(lambda c: c.execute(update).rowcount) == 1

    async def annotate(
        self, tenant: str, attempt_id: str, *, note: str, disposition: str | None
    ) -> bool:
        """Write down what an operator says of it; False: there is no such attempt."""
        values: dict[str, Any] = {"note": note[:10_000]}
        if disposition is not None:
            values["disposition"] = disposition[:32]
        same = (call_attempt.c.attempt_id == attempt_id) & (call_attempt.c.tenant == tenant)
        return await self._change(sa.update(call_attempt).where(same).values(values))

    # ---- questions ----

    async def find(self, attempt_id: str, *, tenant: str | None = None) -> Attempt | None:
        """Find one; raises StoreUnavailable."""
        query = sa.select(call_attempt).where(call_attempt.c.attempt_id == attempt_id)
        if tenant is not None:
            query = query.where(call_attempt.c.tenant == tenant)
        row = await self._store.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else attempt_of(row)

    async def open(
        self, *, tenant: str | None = None, campaign: str | None = None
    ) -> Sequence[Attempt]:
        """Give those that go on, the oldest first."""
        query = sa.select(call_attempt).where(call_attempt.c.ended_at.is_(None))
        if tenant is not None:
            query = query.where(call_attempt.c.tenant == tenant)
        if campaign is not None:
            query = query.where(call_attempt.c.campaign == campaign)
        query = query.order_by(call_attempt.c.claimed_at)
        rows = await self._store.read(lambda c: c.execute(query).mappings().all())
        return [attempt_of(row) for row in rows]

    async def unsettled(self, limit: int = 200) -> Sequence[Attempt]:
        """Give those that are over and of which nothing has followed yet."""
        query = sa.select(call_attempt).where(
            ~call_attempt.c.settled, call_attempt.c.ended_at.is_not(None)
        )
        query = query.order_by(call_attempt.c.ended_at).limit(limit)
        rows = await self._store.read(lambda c: c.execute(query).mappings().all())
        return [attempt_of(row) for row in rows]

    async def counts(self, tenant: str, run_id: str) -> Mapping[str, int]:
        """Count the attempts of a run by state."""
        query = (
            sa.select(call_attempt.c.state, sa.func.count())
            .where(call_attempt.c.tenant == tenant, call_attempt.c.run_id == run_id)
            .group_by(call_attempt.c.state)
        )
        rows = await self._store.read(lambda c: c.execute(query).all())
        return {state: count for state, count in rows}  # noqa: C416  # a row is no pair of its type

    async def _change(self, update: sa.Update) -> bool:
        """Do *update*, of one attempt; False: there is none that it fits."""
        at = self._clock()
        return bool(await self._store.write(lambda c: change_in(c, update, at)))

    def _row(self, order: Order, verdict: GateVerdict, at: float) -> dict[str, Any]:
        attempt_id = self._new_id()
        return {
            "attempt_id": attempt_id,
            "tenant": order.tenant,
            "campaign": order.campaign.key,
            "campaign_version": order.campaign_version,
            "run_id": order.run_id,
            "list_id": order.list_id,
            "position": order.position,
            "tries": order.tries,
            "lead_id": order.lead_id,
            "number": order.lead.phone,
            "trunk": order.trunk,
            "state": "claimed",
            "room": f"{ROOM_PREFIX}{attempt_id}",
            "identity": f"{ROOM_PREFIX}{attempt_id}",
            "owner": self.owner,
            "verdict": verdict.as_json(),
            "claimed_at": at,
            "dialed_at": None,
            "answered_at": None,
            "ended_at": None,
            "disposition": None,
            "because": verdict.because,
            "hang_up": None,
            "note": "",
            "settled": False,
            "adopted_at": None,
            **asdict(NOTHING_HEARD),
        }


def change_in(connection: sa.Connection, update: sa.Update, at: float) -> Sequence[str]:
    """Do *update* in somebody else's transaction, and tell those who watch; return which it was."""
    told = update.returning(*(call_attempt.c[name] for name in _TOLD))
    changed = connection.execute(told).mappings().all()
    note(connection, [_changed(dict(row), at) for row in changed])
    return [row["attempt_id"] for row in changed]


def forbid_in(
    connection: sa.Connection,
    numbers: Collection[str],
    because: str,
    *,
    at: float,
    tenant: str | None = None,
    campaign: str | None = None,
) -> None:
    """Have calls to *numbers* that nobody has answered stop ringing, or never begin.

    It is done in somebody else's transaction: once that is committed, no order to dial is sent any
    more. ``None``: whichever tenant's, whichever campaign's.
    """
    row = call_attempt.c
    wanted: list[sa.ColumnElement[bool]] = []
    wanted += [row.number.in_(numbers), row.ended_at.is_(None), row.answered_at.is_(None)]
    if tenant is not None:
        wanted.append(row.tenant == tenant)
    if campaign is not None:
        wanted.append(row.campaign == campaign)
    update = sa.update(call_attempt).where(*wanted, row.hang_up.is_(None))
    change_in(connection, update.values(hang_up=because[:200]), at)


def _changed(row: Mapping[str, Any], at: float) -> Notice:
    body = {"campaign": row["campaign"], "state": row["state"]}
    return Notice.of("attempt.changed", at, row["tenant"], row["attempt_id"], **body)


def attempt_of(row: Mapping[str, Any] | sa.RowMapping) -> Attempt:
    """Read a row of the table."""
    told = Heard(**{name: row[name] for name in _HEARD})
    others = {name: value for name, value in row.items() if name not in _HEARD}
    return Attempt(**{**others, "verdict": json.loads(row["verdict"]), "heard": told})


def attempt_in(room: str) -> str | None:
    """Name the attempt whose room it is; None: it is no attempt's."""
    attempt_id = room.removeprefix(ROOM_PREFIX)
    return attempt_id if attempt_id != room and len(attempt_id) == _ID_CHARS else None
