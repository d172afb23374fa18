"""The quick size of every scenario: each promise holds, and each bad variant is caught."""

from pathlib import Path

import pytest

from router.demo import binary
from router.demo.settings import DemoSettings
from tests.absent import absent
from tests.faults.__main__ import scenarios
from tests.faults.scenario import Ground, Run, Scenario

QUICK = [scenario for scenario in scenarios() if scenario.quick]


def ground(folder: Path, *, needs_livekit: bool) -> Ground:
    program = binary.find(DemoSettings.load())
    if needs_livekit and program is None:
        absent("livekit-server", "`make test` builds it")
    return Ground(folder=folder, size="quick", say=print, livekit_server=program)


@pytest.mark.parametrize("scenario", QUICK, ids=lambda one: one.name)
async def test_it_holds(scenario: Scenario, tmp_path: Path) -> None:
    seen = await scenario.run(ground(tmp_path, needs_livekit=scenario.needs_livekit))

    assert seen.holds, seen.figures


@pytest.mark.parametrize(
    ("run", "needs_livekit"),
    [
        pytest.param(control.run, scenario.needs_livekit, id=f"{scenario.name}-{control.name}")
        for scenario in QUICK
        for control in scenario.controls
    ],
)
async def test_a_bad_variant_is_caught(run: Run, needs_livekit: bool, tmp_path: Path) -> None:
    seen = await run(ground(tmp_path, needs_livekit=needs_livekit))

    assert not seen.holds, seen.figures
