"""`dial` as somebody at a real terminal has it: keys, a call that is hung up, notes, numbers."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from router.records.attempts import Attempt
from router.records.outcomes import AttemptFilter, Outcomes
from tests.router.api.rig import Rig, open_rig
from tests.router.daytime import leads_csv
from tests.router.serving import serving
from tests.samples import SECRET

ANN, BO, CY, *MORE = (f"+13125550{number}" for number in range(100, 112))
PATIENCE_S: Final = 60
INTERRUPT: Final = "\x03"
#: Makes the terminal the program's own, so that its keys are signals.
AT_TERMINAL: Final = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'router', *sys.argv[1:]])"
)
_STYLE: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(slots=True)
class Screen:
    """A terminal, and the program that runs at it."""

    keyboard: int  # the terminal's other end
    program: subprocess.Popen[bytes]
    text: str = ""
    seen: int = 0  # characters of it that were waited for

    async def shows(self, *wanted: str) -> str:
        """Wait for one of *wanted* behind what was waited for before; return all up to it."""
        pattern = re.compile("|".join(map(re.escape, wanted)))
        patient_until = time.monotonic() + PATIENCE_S
        while (found := pattern.search(self.text, self.seen)) is None:
            assert time.monotonic() < patient_until, f"{wanted} is not in {self.text[self.seen :]}"
            self._read()
            await asyncio.sleep(0.05)  # a terminal has no event either
        before, self.seen = self.seen, found.end()
        return self.text[before : self.seen]

    def types(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    async def ends(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            while self.program.poll() is None:
                self._read()
                await asyncio.sleep(0.05)
        return self.program.returncode

    def _read(self) -> None:
        with suppress(BlockingIOError, OSError):  # nothing there; nobody there any more
            self.text += _STYLE.sub("", os.read(self.keyboard, 65_536).decode(errors="replace"))


@asynccontextmanager
async def terminal(*arguments: str) -> AsyncIterator[Screen]:
    """Run a command at a terminal of its own."""
    keyboard, screen = os.openpty()
    os.set_blocking(keyboard, False)
    program = subprocess.Popen(  # noqa: ASYNC220  # it is waited for in steps
        [sys.executable, "-c", AT_TERMINAL, *arguments],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    os.close(screen)
    try:
        yield Screen(keyboard, program)
    finally:
        program.kill()
        program.wait()
        os.close(keyboard)


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET.decode())
    async with open_rig(tmp_path) as rig:
        await rig.services.leads.add("default", "one.csv", leads_csv(ANN, BO, CY, *MORE))
        await rig.services.leads.select("default", "one.csv")
        await rig.services.do_not_call.add(BO, source="api")
        yield rig


async def going_on(rig: Rig, *, hung_up: bool) -> Attempt:
    """Wait for the call that goes on, or for the wish that it be hung up."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for one in await rig.services.engine.attempts.open():
                if not hung_up or one.hang_up:
                    return one
            await asyncio.sleep(0.05)  # another process makes it; there is no event


async def test_an_operator_turns_pages_calls_hangs_up_keeps_a_note_and_calls_a_number(
    rig: Rig,
) -> None:
    attempts = rig.services.engine.attempts
    async with serving(rig.app) as url, terminal("dial", "--to", url) as screen:
        await screen.shows("campaign (Enter: default) > ")
        screen.types("\r")
        await screen.shows("list (Enter: one.csv) > ")
        screen.types("\r")
        first = await screen.shows("q ends")
        screen.types("n\r")
        second = await screen.shows("q ends")
        screen.types("p\r")
        await screen.shows("q ends")

        screen.types("\r")
        await screen.shows("a real phone will ring; call? [y/N] ")
        screen.types("y\r")
        await screen.shows("claimed", "dialing")
        screen.types(INTERRUPT)
        await screen.shows("hanging up")
        ringing = await going_on(rig, hung_up=True)
        await attempts.end(ringing.attempt_id, "canceled", "an operator hung up")
        await screen.shows("note (Enter: none) > ")
        screen.types("asked for prices\r")
        await screen.shows("ended as (Enter: canceled) > ")
        screen.types("call back\r")
        third = await screen.shows("q ends")

        screen.types("\r")  # not asked again, and refused
        await screen.shows("leave it at that")
        fourth = await screen.shows("q ends")
        screen.types(f"{CY}\r")
        called = await going_on(rig, hung_up=False)
        await attempts.told(called.attempt_id, "answered", "the callee hung up")
        await screen.shows("note (Enter: none) > ")
        screen.types("\r")
        await screen.shows("ended as (Enter: answered) > ")
        screen.types("\r")
        await screen.shows("q ends")
        screen.types("q\r")
        status = await screen.ends()

    page = await Outcomes(rig.services.store).page(AttemptFilter(tenant="default"))
    cy, bo, ann = page.rows
    assert status == 0
    assert ("Person 10" in first, "Person 11" in first) == (True, False)
    assert ("Person 10" in second, "Person 12" in second) == (False, True)
    assert "→    2" in third
    assert "→    3" in fourth
    assert (ann.number, ann.note, ann.disposition) == (ANN, "asked for prices", "call_back")
    assert (bo.number, bo.state) == (BO, "refused")
    assert (cy.number, cy.state) == (CY, "answered")
    assert ANN not in screen.text
