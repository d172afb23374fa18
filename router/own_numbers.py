"""Which numbers are our own: they are never called, since our own agents would answer."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from personas.phone import parse
from router.errors import LiveKitUnavailable

log = structlog.get_logger(__name__)

EVERY_S: Final = 300.0


class TrunkNumbers(Protocol):
    """LiveKit's trunks, inbound and outbound."""

    async def trunk_numbers(self) -> Sequence[str]:
        """Return the numbers of all of them; raises LiveKitUnavailable."""
        ...


@dataclass(kw_only=True, slots=True)
class OwnNumbers:
    """Those that settings and LiveKit's trunks name, in E.164.

    While LiveKit is away those that are known count; nobody can be called then either.
    """

    configured: Mapping[str, str]  # by trunk
    livekit: TrunkNumbers
    region: str | None
    of_trunks: frozenset[str] = field(default_factory=frozenset)

    def known(self) -> frozenset[str]:
        """Give them."""
        return self.of_trunks | self._read(self.configured.values())

    async def run(self) -> None:
        """Ask LiveKit now and then, until cancelled."""
        while True:
            await self.learn()
            await asyncio.sleep(EVERY_S)

    async def learn(self) -> None:
        """Ask LiveKit. Never raises."""
        try:
            self.of_trunks = self._read(await self.livekit.trunk_numbers())
        except LiveKitUnavailable as exc:
            log.info("own_numbers.not_learned", reason=exc.reason)

    def _read(self, written: Iterable[str]) -> frozenset[str]:
        found = (parse(one, self.region) for one in written)
        return frozenset(one.e164 for one in found if one is not None)
