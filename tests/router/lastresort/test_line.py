"""The process in the room, as the router holds it."""

import sys
from pathlib import Path

import pytest

from router.lastresort.line import Line, LineOver

FAKE = str(Path(__file__).with_name("fake_line.py"))


def line(mode: str) -> Line:
    return Line(url="ws://127.0.0.1:9", token="t", caller="c", command=(sys.executable, FAKE, mode))


async def test_it_is_told_what_to_play_and_says_when_it_has() -> None:
    async with line("well") as held:
        await held.answered()

        assert await held.play(None) == ""
        assert await held.play(Path("de.wav")) == ""


async def test_a_process_that_dies_is_told_with_how_it_ended() -> None:
    async with line("crashes") as held:
        with pytest.raises(LineOver, match="failed") as caught:
            await held.answered()

    assert caught.value.detail == "the process ended with 3"


@pytest.mark.parametrize("mode", ["well", "mute", "crashes"])
async def test_no_process_is_left(mode: str) -> None:
    async with line(mode) as held:
        process = held._process

    assert process.returncode is not None


async def test_whoever_waits_hears_that_it_is_over() -> None:
    async with line("mute") as held:
        held.end("taken_over")

        with pytest.raises(LineOver, match="taken_over"):
            await held.answered()


async def test_the_real_process_says_so_when_livekit_is_not_there() -> None:
    async with Line(url="ws://127.0.0.1:9", token="t", caller="c") as held:
        with pytest.raises(LineOver, match="failed") as caught:
            await held.answered()

    assert caught.value.detail in {"ConnectError", "TimeoutError"}
