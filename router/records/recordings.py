"""Recordings of calls: asked for, begun, ended, and where LiveKit has put them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata
from router.errors import StoreUnavailable
from router.records.call_tables import calls
from router.routing import Egress

log = structlog.get_logger(__name__)

AT_ONCE: Final = 50
State: TypeAlias = Literal["starting", "active", "stopping", "complete", "failed"]
_OPEN: Final = ("starting", "active")
#: What LiveKit calls it, and what we do.
_STATES: Final[dict[str, State]] = {
    "EGRESS_STARTING": "starting",
    "EGRESS_ACTIVE": "active",
    "EGRESS_ENDING": "stopping",
    "EGRESS_COMPLETE": "complete",
    "EGRESS_LIMIT_REACHED": "complete",
    "EGRESS_FAILED": "failed",
    "EGRESS_ABORTED": "failed",
}

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("egress_id", sa.String(64), index=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("location", sa.Text),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("error", sa.String(200)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Of one call; times are Unix seconds."""

    state: State
    path: str
    location: str | None  # as LiveKit names it, when it is there
    asked_at: float
    started_at: float | None
    ended_at: float | None
    error: str | None


class RecordingRows:
    """The table. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._insert = (sqlite if store.is_sqlite else postgresql).insert(recordings)

    async def ask(self, call_id: str, tenant: str, path: str) -> bool:
        """Note that a call is to be recorded; False: it is already. Raises StoreUnavailable."""
        row = {"call_id": call_id, "tenant": tenant, "path": path, "state": "starting"}
        row_at = {**row, "asked_at": self._clock()}
        insert = self._insert.on_conflict_do_nothing().returning(recordings.c.call_id)
        return await self._store.write(lambda c: c.execute(insert, row_at).first()) is not None

    async def began(self, call_id: str, egress_id: str) -> None:
        """Note LiveKit's id of it; raises StoreUnavailable."""
        await self._set(recordings.c.call_id == call_id, egress_id=egress_id)

    async def failed(self, call_id: str, error: str) -> None:
        """Note that it was not begun; raises StoreUnavailable."""
        at = self._clock()
        which = recordings.c.call_id == call_id
        await self._set(which, state="failed", error=error[:200], ended_at=at)

    async def stopping(self, egress_id: str) -> None:
        """Note that LiveKit was told to stop; raises StoreUnavailable."""
        which = (recordings.c.egress_id == egress_id) & recordings.c.state.in_(_OPEN)
        await self._set(which, state="stopping")

    def heard(self, egress: Egress) -> None:
        """Note, soon, what LiveKit tells of one."""
        state = _STATES.get(egress.status)
        if state is None:
            return
        told = {
            "state": state,
            "location": egress.location or None,
            "started_at": egress.started_at or None,
            "ended_at": egress.ended_at or None,
            "error": egress.error[:200] or None,
        }
        values = {name: value for name, value in told.items() if value is not None}
        over = recordings.c.state.in_(("complete", "failed"))  # deliveries come in any order
        update = (
            sa.update(recordings)
            .where((recordings.c.egress_id == egress.egress_id) & ~over)
            .values(values)
        )
        self._store.write_soon(lambda connection: connection.execute(update), _not_written)

    async def of(self, call_id: str) -> Recording | None:
        """Return a call's recording, if there is one; raises StoreUnavailable."""
        shown = tuple(recordings.c[name] for name in Recording.__slots__)
        select = sa.select(*shown).where(recordings.c.call_id == call_id)
        row = await self._store.read(lambda c: c.execute(select).mappings().first())
        return Recording(**row) if row else None

    async def outlasting(self) -> list[str]:
        """Return LiveKit's ids of those whose call is over; raises StoreUnavailable."""
        select = (
            sa.select(recordings.c.egress_id)
            .join(calls, calls.c.call_id == recordings.c.call_id)
            .where(
                recordings.c.state.in_(_OPEN),
                recordings.c.egress_id.is_not(None),
                calls.c.ended_at.is_not(None),
            )
            .limit(AT_ONCE)
        )
        return list(await self._store.read(lambda c: c.scalars(select).all()))

    async def _set(self, which: sa.ColumnElement[bool], **values: Any) -> None:
        update = sa.update(recordings).where(which).values(**values)
        await self._store.write(lambda connection: connection.execute(update))


def _not_written(error: StoreUnavailable) -> None:
    log.error("recording.not_noted", reason=error.reason)
