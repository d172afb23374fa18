"""What our participant shows the room: the persona, a sign of life every 2 s, the first word."""

import asyncio
from itertools import count
from typing import Final, Protocol

import structlog

from personas.contract import ATTRIBUTE_BEAT

log = structlog.get_logger(__name__)

BEAT_S: Final = 2.0
ATTRIBUTE_NAME: Final = "persona.name"


class Shown(Protocol):
    """Whose attributes are set: our participant."""

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        """Set these; others stay as they are."""


class Presence:
    """Holds what is to be shown until LiveKit has taken it."""

    def __init__(self) -> None:
        self._unshown: dict[str, str] = {}

    def show(self, attributes: dict[str, str]) -> None:
        """Have the next beat take *attributes* along."""
        self._unshown |= attributes

    async def beat(self, participant: Shown) -> None:
        """Show what there is, and a beat that counts up; until cancelled."""
        for beat in count(1):
            shown, self._unshown = self._unshown, {}
            try:
                async with asyncio.timeout(BEAT_S):
                    await participant.set_attributes({**shown, ATTRIBUTE_BEAT: str(beat)})
            except Exception as exc:  # noqa: BLE001 - the SDK raises bare exceptions
                log.debug("beat.missed", error=type(exc).__name__)
                self._unshown = shown | self._unshown
            await asyncio.sleep(BEAT_S)
