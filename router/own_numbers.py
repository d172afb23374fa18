"""Which numbers are our own: they are never called, since our own agents would answer."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

import structlog

from personas.phone import PhoneNumber, parse
from personas.sources.files import FilePersonaSource
from router.errors import LiveKitUnavailable
from router.settings import RouterSettings

log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0
READ_S: Final = 2.0  # for a folder, which may be a network mount that hangs
MAX_FILES: Final = 100_000


class TrunkNumbers(Protocol):
    """LiveKit's trunks, inbound and outbound."""

    async def trunk_numbers(self) -> Sequence[str]:
        """Return the numbers of all of them; raises LiveKitUnavailable."""
        ...


class PersonaNumbers(Protocol):
    """The personas that are files."""

    async def numbers(self, limit: int) -> Sequence[PhoneNumber]:
        """List the numbers that have one; none when the folder cannot be read."""
        ...


@dataclass(kw_only=True, slots=True)
class OwnNumbers:
    """Those that settings, persona files and LiveKit's trunks name, in E.164.

    While LiveKit or the folder is away those that are known count; without LiveKit nobody can be
    called either.
    """

    configured: Mapping[str, str]  # by trunk
    region: str | None
    livekit: TrunkNumbers | None = None  # None: not to be asked
    files: PersonaNumbers | None = None
    of_trunks: frozenset[str] = field(default_factory=frozenset)
    of_files: frozenset[str] = field(default_factory=frozenset)
    _missed: str = ""  # why LiveKit did not say them the last time

    @classmethod
    def of(cls, settings: RouterSettings, livekit: TrunkNumbers | None = None) -> Self:
        """Make it of *settings*."""
        folder = settings.persona_dir
        return cls(
            configured=settings.number_by_trunk(),
            region=settings.default_region,
            livekit=livekit,
            files=FilePersonaSource(folder) if folder else None,
        )

    def known(self) -> frozenset[str]:
        """Give them."""
        return self.of_trunks | self.of_files | self._read(self.configured.values())

    async def run(self) -> None:
        """Ask LiveKit, and look at the files, now and then, until cancelled."""
        while True:
            await self.learn()
            await asyncio.sleep(EVERY_S)

    async def learn(self) -> None:
        """Ask LiveKit, and look at the files. Never raises."""
        await self.learn_files()
        if self.livekit is None:
            return
        try:
            self.of_trunks = self._read(await self.livekit.trunk_numbers())
        except LiveKitUnavailable as exc:
            if exc.reason != self._missed:  # a server without SIP says so for ever
                log.info("own_numbers.not_learned", reason=exc.reason)
            self._missed = exc.reason
        else:
            self._missed = ""

    async def learn_files(self) -> None:
        """Look which numbers have a persona file. Never raises."""
        if self.files is None:
            return
        try:
            async with asyncio.timeout(READ_S):
                found = await self.files.numbers(MAX_FILES)
        except TimeoutError:
            log.warning("own_numbers.not_read", reason="timeout")
            return
        if found:
            self.of_files = frozenset(one.e164 for one in found)

    def _read(self, written: Iterable[str]) -> frozenset[str]:
        found = (parse(one, self.region) for one in written)
        return frozenset(one.e164 for one in found if one is not None)
