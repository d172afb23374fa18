"""Who dispatches the agent of a call: one row for each call, held under a lease.

The row is unique on the room's sid and on the SIP call's id, so of any number of routers that see
one call, one gets it. A claim whose lease ran out before a dispatch is known to have been done can
be taken over by compare-and-set on its attempt; the taker's attempt is one higher, and in the room
the agent of the higher attempt stays. Looking at LiveKit's list of dispatches first would be no
claim: two routers can look before either has acted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from cachetools import LRUCache
from sqlalchemy.dialects import postgresql, sqlite

from personas.contract import Source
from personas.model import Persona
from router.db import Store, metadata
from router.errors import StoreUnavailable
from router.records.snapshots import KEPT_S as SNAPSHOTS_KEPT_S
from router.records.snapshots import Snapshots, read, snapshots
from router.recovery import Watched

State = Literal["claimed", "released", "dispatched", "unknown", "answered", "ended"]
SETTLED: frozenset[State] = frozenset({"dispatched", "unknown", "answered", "ended"})
KEPT_S = 24 * 3600.0  # how long the claim of an ended call is kept, against a late delivery

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("room_sid", sa.String(128), nullable=False, unique=True),
    sa.Column("sip_call_id", sa.String(256), unique=True),
    sa.Column("room", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
    sa.Column("dispatch_id", sa.String(128)),
    sa.Column("persona_source", sa.String(32)),
    sa.Column("persona_version", sa.String(80)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ended_because", sa.Text),
)


_CLAIMED = (
    "call_id",
    "room_sid",
    "sip_call_id",
    "room",
    "state",
    "owner",
    "attempt",
    "lease_until",
    "created_at",
    "updated_at",
)
# In the text of a statement and not beside it: else SQLite does not see that its index fits.
_ENDED = sa.literal("ended", literal_execute=True)
_SETTLED = ("state", "dispatch_id", "persona_source", "persona_version", "updated_at")
_SETTLE = (
    sa.update(claims)
    .where(
        claims.c.call_id == sa.bindparam("of_call"),
        claims.c.attempt == sa.bindparam("of_attempt"),
    )
    .values(
        {name: sa.bindparam(name) for name in _SETTLED}
        # What spoke last is known as long as the call is: an attempt that failed spoke not at all.
        | {
            name: sa.func.coalesce(sa.bindparam(name, type_=sa.String), claims.c[name])
            for name in ("persona_source", "persona_version")
        }
    )
)


_END = (
    sa.update(claims)
    .where(
        claims.c.call_id == sa.bindparam("of_call"),
        claims.c.attempt == sa.bindparam("of_attempt"),
        claims.c.state != "ended",
    )
    .values(state="ended", ended_because=sa.bindparam("because"), updated_at=sa.bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The call is ours to dispatch, as this attempt, until the lease ends."""

    call_id: str
    attempt: int  # from 1
    spare: bool = False  # the database knows nothing of it


@dataclass(frozen=True, slots=True)
class Spoke:
    """The persona that was sent to a call's agent last; its snapshot may be gone."""

    source: Source
    version: str
    persona: Persona | None


@dataclass(frozen=True, slots=True)
class Held:
    """Someone is dispatching this call at this moment; *for_s* is what is left of the lease."""

    call_id: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Settled:
    """The call has had its dispatch (or may have had: ``unknown``)."""

    call_id: str
    state: State


Taken: TypeAlias = Claim | Held | Settled

SPARE_CALLS = 10_000


class SpareClaims:
    """Claims of this process alone, for while the database is away.

    Another replica does not see them: it may dispatch the same call, and the election in the room
    keeps one of the two agents. A ringing phone cannot wait for a database.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._taken: LRUCache[str, str] = LRUCache(SPARE_CALLS)

    def take(self, *, room_sid: str, sip_call_id: str | None) -> Claim | Settled:
        """Claim a call unless this process has it already."""
        taken = self.known(room_sid=room_sid, sip_call_id=sip_call_id)
        if taken is not None:
            return taken
        call_id = self._new_id()
        for name in filter(None, (room_sid, sip_call_id)):
            self._taken[name] = call_id
        return Claim(call_id, 1, spare=True)

    def known(self, *, room_sid: str, sip_call_id: str | None) -> Settled | None:
        """Say whether this process has the call, which the database may not have heard of yet."""
        if self._taken:
            for name in (room_sid, sip_call_id):
                if name is not None and name in self._taken:
                    return Settled(self._taken[name], "dispatched")
        return None

    def release(self, claim: Claim) -> None:
        """Give the call back."""
        for name in [name for name, call_id in self._taken.items() if call_id == claim.call_id]:
            del self._taken[name]


async def claim_of(
    store: Store, *, room_sid: str, sip_call_id: str | None
) -> tuple[State, float] | None:
    """Return the state of a call's claim and the end of its lease; None: nobody claimed it.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    same_call = claims.c.room_sid == room_sid
    if sip_call_id is not None:
        same_call |= claims.c.sip_call_id == sip_call_id
    select = sa.select(claims.c.state, claims.c.lease_until).where(same_call)
    found = await store.read(lambda connection: connection.execute(select).first())
    return (found.state, found.lease_until) if found else None


class Claims:
    """The claim table. *clock* gives Unix seconds, *new_id* a fresh call id."""

    def __init__(
        self,
        store: Store,
        *,
        owner: str,
        lease_s: float,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        snapshots_kept_s: float = SNAPSHOTS_KEPT_S,
    ) -> None:
        self._store = store
        self._owner = owner
        self._lease_s = lease_s
        self._clock = clock
        self._new_id = new_id
        self._snapshots = Snapshots(store, clock=clock, kept_s=snapshots_kept_s)
        dialect = sqlite if store.is_sqlite else postgresql
        insert = dialect.insert(claims).on_conflict_do_nothing()
        self._insert = insert.returning(claims.c.call_id)
        self._quick_insert = store.quick(insert, _CLAIMED)
        self._quick_settle = store.quick(_SETTLE, ())

    async def take(self, *, room: str, room_sid: str, sip_call_id: str | None) -> Taken:
        """Claim a call, or say who has it.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now, call_id = self._clock(), self._new_id()
        row = {
            "call_id": call_id,
            "room_sid": room_sid,
            "sip_call_id": sip_call_id,
            "room": room,
            "state": "claimed",
            "owner": self._owner,
            "attempt": 1,
            "lease_until": now + self._lease_s,
            "created_at": now,
            "updated_at": now,
        }

        if self._quick_insert(row) == 1:
            return Claim(call_id, 1)

        def take(connection: sa.Connection) -> Taken:
            if connection.execute(self._insert, row).first() is not None:
                return Claim(call_id, 1)
            return self._take_over(connection, room_sid, sip_call_id, now)

        return await self._store.write(take, brief=True)

    def _take_over(
        self, connection: sa.Connection, room_sid: str, sip_call_id: str | None, now: float
    ) -> Taken:
        same_call = claims.c.room_sid == room_sid
        if sip_call_id is not None:
            same_call |= claims.c.sip_call_id == sip_call_id
        found = connection.execute(sa.select(claims).where(same_call)).first()
        if found is None:  # it was there a moment ago; LiveKit delivers again
            raise StoreUnavailable("claim_vanished")
        if found.state in SETTLED:
            return Settled(found.call_id, found.state)
        if found.state == "claimed" and found.lease_until > now:
            return Held(found.call_id, found.lease_until - now)
        attempt = found.attempt + 1
        taken = connection.execute(
            sa.update(claims)
            .where(claims.c.call_id == found.call_id, claims.c.attempt == found.attempt)
            .values(
                state="claimed",
                owner=self._owner,
                attempt=attempt,
                lease_until=now + self._lease_s,
                updated_at=now,
            )
        )
        if taken.rowcount:
            return Claim(found.call_id, attempt)
        return Held(found.call_id, self._lease_s)

    def dispatched(
        self,
        claim: Claim,
        *,
        dispatch_id: str,
        persona_source: str,
        persona_version: str,
        failed: Callable[[StoreUnavailable], None],
        persona: Persona | None = None,
    ) -> None:
        """Have it written down that LiveKit accepted the dispatch; *failed* is told if not.

        The caller need not wait for that. Until it is written the claim is held under its lease,
        so a second delivery dispatches nobody: this router's finds it written, and another's is
        told to come again. If the router dies before, it is as if it had died before LiveKit's
        answer: whoever takes the call over sends a higher attempt, and the election in the room
        keeps one agent.

        *persona* is kept for as long as the call may have to go on with it.
        """
        row = self._settled(
            claim,
            state="dispatched",
            dispatch_id=dispatch_id,
            persona_source=persona_source,
            persona_version=persona_version,
        )
        if persona is None or not self._snapshots.due(persona.version):
            if self._quick_settle(row) is None:
                self._store.write_soon(lambda connection: connection.execute(_SETTLE, row), failed)
            return

        def settle(connection: sa.Connection) -> None:
            connection.execute(_SETTLE, row)
            self._snapshots.write(connection, persona)

        def not_settled(error: StoreUnavailable) -> None:
            self._snapshots.failed(persona.version)
            failed(error)

        self._store.write_soon(settle, not_settled)

    async def unknown(self, claim: Claim, *, persona_source: str, persona: Persona) -> None:
        """Write down that LiveKit may have accepted it; raises StoreUnavailable."""
        row = self._settled(
            claim, state="unknown", persona_source=persona_source, persona_version=persona.version
        )

        def settle(connection: sa.Connection) -> None:
            connection.execute(_SETTLE, row)
            self._snapshots.write(connection, persona)

        await self._store.write(settle)

    async def release(self, claim: Claim) -> None:
        """Give the call back: nothing was dispatched, and whoever comes next may try at once."""
        row = self._settled(claim, state="released")
        await self._store.write(lambda connection: connection.execute(_SETTLE, row))

    async def spoke(self, call_id: str) -> Spoke | None:
        """Return who was sent to a call last; None: that is not known.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        kept = claims.outerjoin(snapshots, claims.c.persona_version == snapshots.c.version)
        columns = (claims.c.persona_source, claims.c.persona_version, snapshots.c.document)
        select = sa.select(*columns).select_from(kept).where(claims.c.call_id == call_id)
        found = await self._store.read(lambda connection: connection.execute(select).first())
        if found is None or found.persona_version is None:
            return None
        return Spoke(found.persona_source, found.persona_version, read(found.document))

    async def changed(self, call_id: str, *, persona: Persona, persona_source: str) -> None:
        """Write down that *persona* speaks in a call from now on; raises StoreUnavailable."""
        update = (
            sa.update(claims)
            .where(claims.c.call_id == call_id, claims.c.state != "ended")
            .values(
                persona_source=persona_source,
                persona_version=persona.version,
                updated_at=self._clock(),
            )
        )

        def change(connection: sa.Connection) -> None:
            connection.execute(update)
            self._snapshots.write(connection, persona)

        await self._store.write(change)

    # ---- what the watch does ----

    async def watched(self) -> list[Watched]:
        """Return the claim of every call that has not ended; raises StoreUnavailable."""
        columns = [claims.c[name] for name in Watched.__slots__]
        select = sa.select(*columns).where(claims.c.state != _ENDED)
        rows = await self._store.read(lambda connection: connection.execute(select).all())
        return [Watched(*row) for row in rows]

    async def next_attempt(self, call: Watched, *, failures: int) -> Claim | None:
        """Take *call* over as its next attempt; None when someone else was faster.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._clock()
        update = self._of(call).values(
            state="claimed",
            owner=self._owner,
            attempt=call.attempt + 1,
            failures=failures,
            lease_until=now + self._lease_s,
            updated_at=now,
        )
        taken = await self._store.write(lambda c: c.execute(update).rowcount)
        return Claim(call.call_id, call.attempt + 1) if taken else None

    async def renew(self, claim: Claim) -> bool:
        """Hold *claim* for another lease; False: somebody else has the call, or it has ended.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._clock()
        same = (claims.c.call_id == claim.call_id) & (claims.c.attempt == claim.attempt)
        update = (
            sa.update(claims)
            .where(same, claims.c.state == "claimed")
            .values(lease_until=now + self._lease_s, updated_at=now)
        )
        return bool(await self._store.write(lambda c: c.execute(update).rowcount))

    async def answered(self, call: Watched) -> None:
        """Write down that the agent is with the caller; raises StoreUnavailable."""
        update = self._of(call).values(state="answered", failures=0, updated_at=self._clock())
        await self._store.write(lambda connection: connection.execute(update))

    async def ended(self, calls: Sequence[Watched], because: str) -> None:
        """Write down that these calls are over; raises StoreUnavailable."""
        common = {"because": because, "at": self._clock()}
        rows = [{"of_call": call.call_id, "of_attempt": call.attempt, **common} for call in calls]
        await self._store.write(lambda connection: connection.execute(_END, rows))

    async def forget(self) -> int:
        """Delete the claims of calls that ended long ago; raises StoreUnavailable."""
        old = (claims.c.state == "ended") & (claims.c.updated_at < self._clock() - KEPT_S)

        def forget(connection: sa.Connection) -> int:
            self._snapshots.forget(connection)
            return connection.execute(sa.delete(claims).where(old)).rowcount

        return await self._store.write(forget)

    @staticmethod
    def _of(call: Watched) -> sa.Update:
        same = (claims.c.call_id == call.call_id) & (claims.c.attempt == call.attempt)
        return sa.update(claims).where(same, claims.c.state != "ended")

    def _settled(self, claim: Claim, *, state: State, **values: str) -> dict[str, Any]:
        row = dict.fromkeys(_SETTLED) | values
        row |= {"state": state, "updated_at": self._clock()}
        return row | {"of_call": claim.call_id, "of_attempt": claim.attempt}
