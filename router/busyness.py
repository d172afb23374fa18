"""How busy this machine and the agents' workers are, for the pace of campaigns.

Linux's own counters are read, every two seconds, and the health ports of workers are asked, where
settings name any. Counters that are not there count as idle; a worker that does not answer takes no
calls, so it counts as full.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import structlog

from router.campaigns.pacing import Busyness, pace_factor

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
ASK_S: Final = 1.0
MAX_ANSWER: Final = 64 * 1024


@dataclass(kw_only=True, slots=True)
class Busy:
    """Looks, and says what is left of the pace."""

    client: httpx.AsyncClient
    workers: Sequence[str] = ()  # base addresses of their health ports
    proc: Path = Path("/proc")
    seen: Busyness = field(default_factory=Busyness)
    _spent: tuple[float, float] | None = None  # busy and all ticks, at the last look

    def brake(self) -> float:
        """Give the part of the pace that is left."""
        return pace_factor(self.seen)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            before = self.brake()
            await self.look()
            if (self.brake() < 1.0) is not (before < 1.0):
                log.warning("pace.braked" if self.brake() < 1.0 else "pace.released")
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Look once. Never raises."""
        loads = await asyncio.gather(*map(self._load_of, self.workers))
        self.seen = Busyness(
            cpu=self._cpu(), memory=self._memory(), workers=min(loads, default=0.0)
        )

    def _cpu(self) -> float:
        """Return the share of time that the cores worked since the last look."""
        try:
            line = (self.proc / "stat").read_text(encoding="ascii").split("\n", 1)[0]
            ticks = [float(one) for one in line.split()[1:9]]
        except (OSError, ValueError):
            return 0.0
        idle = sum(ticks[3:5])  # waiting for a disk is no work
        spent = sum(ticks) - idle, sum(ticks)
        before, self._spent = self._spent, spent
        if before is None or spent[1] <= before[1]:
            return 0.0
        return (spent[0] - before[0]) / (spent[1] - before[1])

    def _memory(self) -> float:
        """Return the share of memory that nobody else could have."""
        try:
            text = (self.proc / "meminfo").read_text(encoding="ascii")
            sizes = {
                name: float(rest.split()[0])
                for name, _, rest in (line.partition(":") for line in text.splitlines())
                if name in ("MemTotal", "MemAvailable")
            }
            return 1.0 - sizes["MemAvailable"] / sizes["MemTotal"]
        except (OSError, ValueError, LookupError, ZeroDivisionError):
            return 0.0

    async def _load_of(self, worker: str) -> float:
        try:
            async with asyncio.timeout(ASK_S):
                answer = await self.client.get(f"{worker.rstrip('/')}/worker")
            load = answer.json().get("worker_load", 0.0) if answer.is_success else 1.0
            return float(load)
        except (TimeoutError, httpx.HTTPError, ValueError, AttributeError, TypeError) as exc:
            log.info("worker.not_asked", reason=type(exc).__name__)
            return 1.0
