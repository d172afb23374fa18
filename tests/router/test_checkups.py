"""The checks that a running router makes of itself."""

import asyncio
from collections.abc import Sequence

from structlog.testing import capture_logs

from router.checkups import Checkups
from router.findings import Check

WELL = Check("clock", "ok", "agrees")
ILL = Check("persona api", "error", "it answers 503", "look at its own log")
DEADLINE_S = 5.0


class Looks:
    """Gives one result after the other, the last for ever; an error is raised."""

    def __init__(self, *results: Sequence[Check] | Exception) -> None:
        self._results = list(results)
        self.again = asyncio.Event()
        self.count = 0

    async def __call__(self) -> Sequence[Check]:
        self.count += 1
        if self.count > 1:
            self.again.set()
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, Exception):
            raise result
        return result


async def test_what_is_not_well_is_kept_and_logged_once_until_it_was_well() -> None:
    checkups = Checkups(Looks([WELL, ILL], [ILL, WELL], [WELL], [ILL]))

    with capture_logs() as lines:
        for expected in ((ILL,), (ILL,), (), (ILL,)):
            await checkups.look_once()
            assert checkups.warnings == expected

    warned = [line["check"] for line in lines if line["event"] == "checkup.warned"]
    assert warned == ["persona api", "persona api"]


async def test_it_looks_at_start_and_again_and_stops_when_it_is_left() -> None:
    looks = Looks([WELL])

    async with asyncio.timeout(DEADLINE_S), Checkups(looks, every_s=0.001) as checkups:
        await looks.again.wait()

    assert checkups._task.cancelled()


async def test_a_look_that_fails_is_logged_and_the_next_one_comes() -> None:
    checkups = Checkups(Looks(ValueError("a defect"), [ILL]))

    with capture_logs() as lines:
        await checkups.look_once()
        await checkups.look_once()

    assert lines[0]["event"] == "checkup.crashed"
    assert checkups.warnings == (ILL,)


async def test_a_look_that_hangs_is_ended() -> None:
    async def hang() -> Sequence[Check]:
        await asyncio.Event().wait()
        return []

    checkups = Checkups(hang, within_s=0.01)

    with capture_logs() as lines:
        await checkups.look_once()

    assert [line["event"] for line in lines] == ["checkup.timed_out"]


async def test_leaving_does_not_wait_for_a_look_that_hangs() -> None:
    began = asyncio.Event()

    async def hang() -> Sequence[Check]:
        began.set()
        await asyncio.Event().wait()
        return []

    async with asyncio.timeout(DEADLINE_S), Checkups(hang):
        await began.wait()

    assert began.is_set()
