import asyncio
import contextlib

import pytest

from agent import presence
from agent.presence import Presence


class FakeParticipant:
    """Takes attributes as LiveKit does; the first *failures* attempts fail as its SDK fails."""

    def __init__(self, *, beats: int, failures: int = 0) -> None:
        self.shown: list[dict[str, str]] = []
        self.done = asyncio.Event()
        self._beats = beats
        self._failures = failures

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        if self._failures:
            self._failures -= 1
            raise Exception("not connected")  # noqa: TRY002 - the SDK raises bare exceptions
        self.shown.append(attributes)
        if len(self.shown) == self._beats:
            self.done.set()


async def beats_of(shown: Presence, participant: FakeParticipant) -> list[dict[str, str]]:
    beating = asyncio.create_task(shown.beat(participant))
    async with asyncio.timeout(10):
        await participant.done.wait()
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    return participant.shown


async def test_what_is_to_be_shown_goes_with_the_next_beat_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "BEAT_S", 0.05)
    shown = Presence()
    shown.show({"persona.name": "Mira"})

    seen = await beats_of(shown, FakeParticipant(beats=2))

    assert seen == [{"persona.name": "Mira", "persona.beat": "1"}, {"persona.beat": "2"}]


async def test_what_livekit_did_not_take_is_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "BEAT_S", 0.05)
    shown = Presence()
    shown.show({"persona.name": "Mira"})

    seen = await beats_of(shown, FakeParticipant(beats=1, failures=1))

    assert seen == [{"persona.name": "Mira", "persona.beat": "2"}]
