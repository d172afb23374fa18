"""Who dispatches the agent of a call: one row for each call, held under a lease.

The row is unique on the room's sid and on the SIP call's id, so of any number of routers that see
one call, one gets it. A claim whose lease ran out before a dispatch is known to have been done can
be taken over by compare-and-set on its attempt; the taker's attempt is one higher, and in the room
the agent of the higher attempt stays. Looking at LiveKit's list of dispatches first would be no
claim: two routers can look before either has acted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata
from router.errors import StoreUnavailable

State = Literal["claimed", "released", "dispatched", "unknown"]

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
)


_SETTLED = ("state", "dispatch_id", "persona_source", "persona_version", "updated_at")
_SETTLE = (
    sa.update(claims)
    .where(
        claims.c.call_id == sa.bindparam("of_call"),
        claims.c.attempt == sa.bindparam("of_attempt"),
    )
    .values({name: sa.bindparam(name) for name in _SETTLED})
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The call is ours to dispatch, as this attempt, until the lease ends."""

    call_id: str
    attempt: int  # from 1


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
    ) -> None:
        self._store = store
        self._owner = owner
        self._lease_s = lease_s
        self._clock = clock
        self._new_id = new_id
        dialect = sqlite if store.is_sqlite else postgresql
        self._insert = dialect.insert(claims).on_conflict_do_nothing().returning(claims.c.call_id)

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

        def take(connection: sa.Connection) -> Taken:
            if connection.execute(self._insert, row).first() is not None:
                return Claim(call_id, 1)
            return self._take_over(connection, room_sid, sip_call_id, now)

        return await self._store.write(take)

    def _take_over(
        self, connection: sa.Connection, room_sid: str, sip_call_id: str | None, now: float
    ) -> Taken:
        same_call = claims.c.room_sid == room_sid
        if sip_call_id is not None:
            same_call |= claims.c.sip_call_id == sip_call_id
        found = connection.execute(sa.select(claims).where(same_call)).first()
        if found is None:  # it was there a moment ago; LiveKit delivers again
            raise StoreUnavailable("claim_vanished")
        if found.state in {"dispatched", "unknown"}:
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
    ) -> None:
        """Have it written down that LiveKit accepted the dispatch; *failed* is told if not.

        The caller need not wait for that. Until it is written the claim is held under its lease,
        so a second delivery dispatches nobody: this router's finds it written, and another's is
        told to come again. If the router dies before, it is as if it had died before LiveKit's
        answer: whoever takes the call over sends a higher attempt, and the election in the room
        keeps one agent.
        """
        row = self._settled(
            claim,
            state="dispatched",
            dispatch_id=dispatch_id,
            persona_source=persona_source,
            persona_version=persona_version,
        )
        self._store.write_soon(lambda connection: connection.execute(_SETTLE, row), failed)

    async def unknown(self, claim: Claim) -> None:
        """Write down that LiveKit may have accepted it; raises StoreUnavailable."""
        await self._settle(self._settled(claim, state="unknown"))

    async def release(self, claim: Claim) -> None:
        """Give the call back: nothing was dispatched, and whoever comes next may try at once."""
        await self._settle(self._settled(claim, state="released"))

    async def _settle(self, row: Mapping[str, Any]) -> None:
        await self._store.write(lambda connection: connection.execute(_SETTLE, row))

    def _settled(self, claim: Claim, *, state: State, **values: str) -> dict[str, Any]:
        row = dict.fromkeys(_SETTLED) | values
        row |= {"state": state, "updated_at": self._clock()}
        return row | {"of_call": claim.call_id, "of_attempt": claim.attempt}
