"""Look, at start and every hour, for what would trouble calls, and warn of it once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import structlog

from personas.logs import mask
from router.findings import Check

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
WITHIN_S = 60.0


class Checkups:
    """Runs *look* in the background while it is entered; ``warnings`` is what it said last."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Sequence[Check]]],
        *,
        every_s: float = EVERY_S,
        within_s: float = WITHIN_S,
    ) -> None:
        self._look = look
        self._every_s = every_s
        self._within_s = within_s
        self._task: asyncio.Task[None]
        self.warnings: tuple[Check, ...] = ()

    async def __aenter__(self) -> Self:
        """Start looking; nothing waits for it."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, in the midst of a look too."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await self.look_once()
            await asyncio.sleep(self._every_s)

    def shown(self) -> list[dict[str, str]]:
        """Return the warnings for all to see: nobody has to prove who they are, so masked."""
        return [
            {"check": one.name, "level": one.level, "said": mask(one.said), "fix": one.fix}
            for one in self.warnings
        ]

    async def look_once(self) -> None:
        """Look, keep what is not well, and log what was not known before. Never raises."""
        try:
            async with asyncio.timeout(self._within_s):
                checks = await self._look()
        except TimeoutError:
            log.warning("checkup.timed_out", within_s=self._within_s)
            return
        except Exception:  # a defect in a check must not end all later ones
            log.exception("checkup.crashed")
            return
        known = self.warnings
        self.warnings = tuple(check for check in checks if check.level != "ok")
        for check in self.warnings:
            if check not in known:
                log.warning(
                    "checkup.warned",
                    check=check.name,
                    severity=check.level,
                    said=check.said,
                    fix=check.fix,
                )
