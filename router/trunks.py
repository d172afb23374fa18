"""Which number a trunk has, where it has exactly one: it settles calls that hide theirs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from router.errors import LiveKitUnavailable
from router.routing import NumberingPlan

log = structlog.get_logger(__name__)

FRESH_S = 300.0


class Trunk(Protocol):
    """What LiveKit tells of an inbound trunk."""

    @property
    def sip_trunk_id(self) -> str:
        """Id, ``ST_…``."""
        ...

    @property
    def numbers(self) -> Sequence[str]:
        """The numbers that it takes; empty for any."""
        ...


class TrunkDirectory(Protocol):
    """Knows the inbound trunks."""

    async def inbound_trunks(self) -> Sequence[Trunk]:
        """Return them; raises LiveKitUnavailable."""
        ...


class Trunks:
    """The numbering plan, with what LiveKit knows of trunks added to what the operator wrote.

    LiveKit is asked when a call hides its number and its trunk is not known, at most once in five
    minutes, whether it answers or not: a call waits for that one question and no other.
    """

    def __init__(
        self, plan: NumberingPlan, directory: TrunkDirectory, *, clock: Callable[[], float]
    ) -> None:
        self._configured = plan
        self._directory = directory
        self._clock = clock
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self.plan = plan

    async def learn(self) -> NumberingPlan:
        """Ask LiveKit for its trunks unless that was done lately, and return the plan."""
        async with self._asking:
            now = self._clock()
            if self._asked_at is not None and now - self._asked_at < FRESH_S:
                return self.plan
            self._asked_at = now
            try:
                found = single_numbers(await self._directory.inbound_trunks())
            except LiveKitUnavailable as exc:
                log.warning("trunks.not_listed", reason=exc.reason)
                return self.plan
            self.plan = replace(
                self._configured, number_by_trunk={**found, **self._configured.number_by_trunk}
            )
            log.info("trunks.listed", with_one_number=len(found))
            return self.plan


def single_numbers(trunks: Sequence[Trunk]) -> Mapping[str, str]:
    """Return the number of each trunk that has exactly one."""
    return {trunk.sip_trunk_id: trunk.numbers[0] for trunk in trunks if len(trunk.numbers) == 1}
