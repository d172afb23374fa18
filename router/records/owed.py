"""Dispatches that the database was not there to hear of: told when it is back.

A ringing phone does not wait for a database, so a call may be dispatched under a claim of this
process alone, or its dispatch may find the database gone. What is owed is kept in memory: a router
that ends before the database is back takes it along.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from personas.contract import Source
from personas.model import Persona
from router.db import Store
from router.errors import StoreUnavailable
from router.records.claims import Claim, State, claims
from router.records.snapshots import Snapshots
from router.routing import InboundCall

log = structlog.get_logger(__name__)

AGAIN_S: Final = 1.0  # between two tries
AT_ONCE: Final = 100  # rows of one transaction
MAX_OWED: Final = 10_000  # as many calls as `SpareClaims` holds

_OPEN: Final = ("claimed", "released")


@dataclass(frozen=True, slots=True)
class Owing:
    """One dispatch: of which call, under which claim, what is known of it, and who was sent."""

    call: InboundCall
    claim: Claim
    state: State
    source: Source
    persona: Persona
    dispatch_id: str | None = None


class Owed:
    """Tells *store* of dispatches, in the background. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, owner: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._owner = owner
        self._clock = clock
        self._owed: deque[Owing] = deque(maxlen=MAX_OWED)
        self._filled = asyncio.Event()
        dialect = sqlite if store.is_sqlite else postgresql
        self._snapshots = Snapshots(store, clock=clock)
        self._insert = dialect.insert(claims).on_conflict_do_nothing()

    def __len__(self) -> int:
        return len(self._owed)

    def add(self, owing: Owing) -> None:
        """Have *owing* written down; never waits or raises."""
        self._owed.append(owing)
        self._filled.set()

    async def run(self) -> None:
        """Write until cancelled, again and again while the database is away."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(AGAIN_S)
            await self.write()

    async def write(self) -> bool:
        """Write what is owed; False: the database is still away."""
        while self._owed:
            batch = list(islice(self._owed, AT_ONCE))
            try:
                await self._store.write(partial(self._settle_all, batch))
            except StoreUnavailable:  # after a timeout it may yet be done, which does no harm
                return False
            for _ in batch:
                self._owed.popleft()
            log.info("calls.recorded_late", count=len(batch))
        self._filled.clear()
        return True

    async def aclose(self) -> None:
        """Try once more, and say what is lost."""
        if not await self.write():
            log.error("calls.not_recorded", count=len(self._owed))

    def _settle_all(self, batch: Sequence[Owing], connection: sa.Connection) -> None:
        for owing in batch:
            self._settle(owing, connection)
            self._snapshots.write(connection, owing.persona)

    def _settle(self, owing: Owing, connection: sa.Connection) -> None:
        row = self._row(owing)
        same_call = claims.c.room_sid == row["room_sid"]
        if row["sip_call_id"] is not None:
            same_call |= claims.c.sip_call_id == row["sip_call_id"]
        # The claim itself, or one that the database took after its caller had given up: it knows of
        # no dispatch, and the watch may have ended it with its room.
        late = claims.c.dispatch_id.is_(None) & claims.c.state.in_((*_OPEN, "ended"))
        ours = (claims.c.call_id == row["call_id"]) | ((claims.c.owner == self._owner) & late)
        known = {name: row[name] for name in row if name not in {"state", "created_at"}}
        state = sa.case((claims.c.state.in_(_OPEN), row["state"]), else_=claims.c.state)
        update = sa.update(claims).where(same_call, ours, claims.c.attempt <= row["attempt"])
        if not connection.execute(update.values(**known, state=state)).rowcount:
            connection.execute(self._insert, row)

    def _row(self, owing: Owing) -> Mapping[str, Any]:
        call, claim, now = owing.call, owing.claim, self._clock()
        return {
            "call_id": claim.call_id,
            "room_sid": call.room_sid,
            "sip_call_id": call.sip_call_id,
            "room": call.room,
            "state": owing.state,
            "owner": self._owner,
            "attempt": claim.attempt,
            "lease_until": now,
            "dispatch_id": owing.dispatch_id,
            "persona_source": owing.source,
            "persona_version": owing.persona.version,
            "created_at": now,
            "updated_at": now,
        }
