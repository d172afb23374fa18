"""Deletes what is too old, kind by kind: one replica at a time, in small transactions.

Calls that ring need the database too, so between two transactions it pauses, and of each kind it
deletes only so much in a turn; what is left is taken by the next.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from router.db import Store
from router.errors import StoreUnavailable
from router.metrics import Metrics
from router.records.leases import Lease
from router.records.retention import DAY_S, Kind

log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0
LEASE_S: Final = 150.0
PAUSE_S: Final = 0.02
MOST: Final = 50  # transactions of one kind in a turn
AFRESH_S: Final = 6 * 3600.0  # how often kinds that are read through begin at their oldest again


@dataclass(kw_only=True, slots=True)
class Sweeper:
    """Keeps each kind as long as it is to be kept. *clock* gives Unix seconds."""

    store: Store
    lease: Lease
    kinds: tuple[Kind, ...]
    metrics: Metrics
    clock: Callable[[], float] = time.time
    _reached: dict[str, float] = field(default_factory=dict)
    _afresh_at: float = float("-inf")

    async def run(self) -> None:
        """Work until cancelled; then let another replica do it."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(EVERY_S)
        finally:
            try:
                await self.lease.give_up()
            except StoreUnavailable:
                log.debug("retention.lease_kept")

    async def turn(self) -> None:
        """Delete what is due, if it is this replica's turn. Never raises."""
        try:
            if self.clock() - self._afresh_at >= AFRESH_S:
                self._afresh_at = self.clock()
                self._reached.clear()
            for kind in self.kinds:
                if not await self.lease.hold():
                    return
                await self._sweep(kind)
        except StoreUnavailable as exc:
            log.warning("retention.not_kept", reason=exc.reason)
        except Exception:  # the next turn may do better
            log.exception("retention.crashed")

    async def _sweep(self, kind: Kind) -> None:
        before, rows = self.clock() - kind.days * DAY_S, 0
        for _ in range(MOST):
            behind = self._reached.get(kind.name, 0.0)
            swept = await self.store.write(
                lambda connection, behind=behind: kind.delete(connection, behind, before)  # type: ignore[misc] # mypy cannot infer a lambda with a default
            )
            rows += swept.rows
            if swept.reached is None:
                break
            self._reached[kind.name] = max(behind, swept.reached)
            await asyncio.sleep(PAUSE_S)
        if rows:
            self.metrics.deleted[kind.name].inc(rows)
            log.info("retention.deleted", kind=kind.name, count=rows)
