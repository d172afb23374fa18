"""The pace falls before calls suffer."""

from pathlib import Path

import httpx
import pytest
import respx

from router.busyness import Busy
from router.campaigns.pacing import Busyness, pace_factor


@pytest.mark.parametrize(
    ("load", "factor"),
    [
        (Busyness(), 1.0),
        (Busyness(cpu=0.75, memory=0.85, workers=0.55), 1.0),
        (Busyness(cpu=0.85), 0.5),
        (Busyness(memory=0.91), 0.5),
        (Busyness(workers=0.625), 0.5),
        (Busyness(cpu=0.85, memory=0.99), 0.0),
        (Busyness(workers=1.0), 0.0),
    ],
)
def test_the_scarcest_part_says_what_is_left(load: Busyness, factor: float) -> None:
    assert pace_factor(load) == pytest.approx(factor)


def counters(folder: Path, *, busy: int, idle: int, available: int) -> None:
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1\n", "ascii")
    memory = f"MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"
    (folder / "meminfo").write_text(memory, "ascii")


async def test_cpu_and_memory_are_those_since_the_last_look(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        busy = Busy(client=client, proc=tmp_path)
        counters(tmp_path, busy=100, idle=900, available=900)
        await busy.look()
        assert (busy.seen.cpu, busy.brake()) == (0.0, 1.0)

        counters(tmp_path, busy=185, idle=915, available=200)
        await busy.look()

    assert busy.seen.cpu == pytest.approx(0.85)
    assert busy.seen.memory == pytest.approx(0.8)
    assert busy.brake() == pytest.approx(0.5)


async def test_where_there_are_no_counters_nothing_is_slowed(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        busy = Busy(client=client, proc=tmp_path)
        await busy.look()
        (tmp_path / "stat").write_text("what?\n", "ascii")
        (tmp_path / "meminfo").write_text("MemTotal: 0 kB\n", "ascii")
        await busy.look()

    assert busy.brake() == 1.0


@respx.mock
async def test_the_worker_that_is_least_busy_decides(tmp_path: Path) -> None:
    respx.get("http://one:8081/worker").respond(json={"worker_load": 0.65})
    two = respx.get("http://two:8081/worker").respond(json={"worker_load": 0.1})
    async with httpx.AsyncClient() as client:
        workers = ("http://one:8081/", "http://two:8081")
        busy = Busy(client=client, proc=tmp_path, workers=workers)
        await busy.look()
        assert busy.seen.workers == pytest.approx(0.1)

        for side_effect in (httpx.ConnectError("no"), httpx.Response(200, text="[]")):
            two.mock(side_effect=[side_effect])
            await busy.look()
            assert busy.seen.workers == pytest.approx(0.65)
