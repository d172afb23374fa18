import errno
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from personas.phone import PhoneNumber
from personas.sources.last_known_good import REWRITE_AFTER_S, LastKnownGood
from tests.fakes_personas import FakeClock, persona

NUMBER = PhoneNumber("+13125550100")
OTHER = PhoneNumber("+13125550101")
PERSONA = persona(NUMBER.e164)


@pytest.fixture
def wall() -> FakeClock:
    return FakeClock(1_000_000_000.0)


@pytest.fixture
async def store(tmp_path: Path, wall: FakeClock) -> AsyncIterator[LastKnownGood]:
    store = LastKnownGood(tmp_path / "kept", wall=wall)
    yield store
    await store.aclose()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "kept").iterdir())


async def test_what_was_saved_is_there_after_a_restart(
    store: LastKnownGood, tmp_path: Path, wall: FakeClock
) -> None:
    await store.save(NUMBER, PERSONA)
    wall.advance(90)

    kept = await LastKnownGood(tmp_path / "kept", wall=wall).load(NUMBER)

    assert kept is not None
    assert kept.persona == PERSONA
    assert kept.persona.raw == PERSONA.raw
    assert kept.age_s == 90


async def test_a_number_never_saved_has_no_copy(store: LastKnownGood) -> None:
    assert await store.load(NUMBER) is None


async def test_no_file_name_shows_a_number_and_no_one_else_can_read_it(
    store: LastKnownGood, tmp_path: Path
) -> None:
    await store.save(NUMBER, PERSONA)

    (path,) = files(tmp_path)
    assert "3125550100" not in path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_deleted_copy_is_gone(store: LastKnownGood, tmp_path: Path) -> None:
    await store.save(NUMBER, PERSONA)
    await store.delete(NUMBER)
    await store.delete(NUMBER)

    assert await store.load(NUMBER) is None
    assert files(tmp_path) == []

    await store.save(NUMBER, PERSONA)
    assert await store.load(NUMBER) is not None


async def test_an_unchanged_persona_is_written_again_only_to_renew_its_age(
    store: LastKnownGood, tmp_path: Path, wall: FakeClock
) -> None:
    await store.save(NUMBER, PERSONA)
    first = files(tmp_path)[0].stat().st_ino

    wall.advance(REWRITE_AFTER_S - 1)
    await store.save(NUMBER, PERSONA)
    assert files(tmp_path)[0].stat().st_ino == first

    wall.advance(1)
    await store.save(NUMBER, PERSONA)
    kept = await store.load(NUMBER)
    assert kept is not None
    assert kept.age_s == 0


async def test_a_changed_persona_is_written_at_once(store: LastKnownGood) -> None:
    changed = persona(NUMBER.e164, revision=2)
    await store.save(NUMBER, PERSONA)
    await store.save(NUMBER, changed)

    kept = await store.load(NUMBER)

    assert kept is not None
    assert kept.persona == changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": OTHER.e164}, "other_number"),
        ({"raw": '{"personality":"forged"}'}, "wrong_hash"),
        ({"raw": '{"persona_name":"nobody"}'}, "corrupt"),
        ({"raw": "{"}, "corrupt"),
        ({"saved_at": "yesterday"}, "corrupt"),
        ({"format": 2}, "corrupt"),
        ({"more": 1}, "corrupt"),
    ],
)
async def test_a_copy_that_is_not_whole_is_ignored_and_told(
    store: LastKnownGood, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    await store.save(NUMBER, PERSONA)
    (path,) = files(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))

    with capture_logs() as logs:
        assert await store.load(NUMBER) is None

    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("last_known_good.refused", reason)
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null"])
async def test_a_torn_file_is_ignored(store: LastKnownGood, tmp_path: Path, content: bytes) -> None:
    await store.save(NUMBER, PERSONA)
    files(tmp_path)[0].write_bytes(content)

    assert await store.load(NUMBER) is None


async def test_a_copy_under_another_numbers_name_is_never_served(
    store: LastKnownGood, tmp_path: Path
) -> None:
    await store.save(NUMBER, PERSONA)
    (mine,) = files(tmp_path)
    await store.save(OTHER, persona(OTHER.e164))
    (theirs,) = set(files(tmp_path)) - {mine}

    mine.replace(theirs)

    assert await store.load(OTHER) is None


async def test_a_copy_from_the_future_is_of_now(store: LastKnownGood, wall: FakeClock) -> None:
    await store.save(NUMBER, PERSONA)
    wall.advance(-1000)

    kept = await store.load(NUMBER)

    assert kept is not None
    assert kept.age_s == 0


async def test_a_disk_that_cannot_be_written_costs_a_log_line_a_minute(
    tmp_path: Path, wall: FakeClock
) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    store = LastKnownGood(tmp_path / "kept", wall=wall)

    with capture_logs() as logs:
        await store.save(NUMBER, PERSONA)
        await store.save(NUMBER, PERSONA)
        wall.advance(60)
        await store.save(NUMBER, PERSONA)
        await store.delete(NUMBER)

    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("last_known_good.unwritable", "EEXIST")
    ] * 2
    await store.aclose()


async def test_what_could_not_be_written_is_tried_again(tmp_path: Path, wall: FakeClock) -> None:
    blocked = tmp_path / "kept"
    blocked.write_text("")
    store = LastKnownGood(blocked, wall=wall)
    await store.save(NUMBER, PERSONA)
    blocked.unlink()

    await store.save(NUMBER, PERSONA)

    assert await store.load(NUMBER) is not None
    await store.aclose()


async def test_a_copy_that_cannot_be_read_is_told(store: LastKnownGood, tmp_path: Path) -> None:
    await store.save(NUMBER, PERSONA)
    (path,) = files(tmp_path)
    path.unlink()
    path.mkdir()

    with capture_logs() as logs:
        assert await store.load(NUMBER) is None
        await store.delete(NUMBER)

    assert logs[0]["event"] == "last_known_good.unreadable"
    assert logs[0]["reason"] == errno.errorcode[errno.EISDIR]


async def test_nothing_half_written_is_left_when_the_replacing_fails(
    store: LastKnownGood, tmp_path: Path
) -> None:
    await store.save(NUMBER, PERSONA)
    (path,) = files(tmp_path)
    path.unlink()
    path.mkdir()

    await store.save(NUMBER, persona(NUMBER.e164, revision=2))

    assert files(tmp_path) == [path]


async def test_the_oldest_copies_and_forgotten_scraps_are_pruned(
    tmp_path: Path, wall: FakeClock
) -> None:
    store = LastKnownGood(tmp_path / "kept", wall=wall, max_files=3, prune_every=1)
    numbers = [PhoneNumber(f"+1312555010{digit}") for digit in range(6)]
    (tmp_path / "kept" / "folder").mkdir(parents=True)
    for name, age_s in (("old.tmp", 4000), ("new.tmp", 10)):
        scrap = tmp_path / "kept" / name
        scrap.touch()
        os.utime(scrap, (wall.now - age_s, wall.now - age_s))
    for age, number in enumerate(numbers):
        await store.save(number, persona(number.e164))
        for path in files(tmp_path):
            if path.suffix == ".json" and path.stat().st_mtime > wall.now:
                os.utime(path, (wall.now - 100 + age, wall.now - 100 + age))

    await store.save(numbers[0], persona(numbers[0].e164, revision=2))
    left = [number for number in numbers if await store.load(number)]
    await store.aclose()

    assert left == [numbers[0], numbers[4], numbers[5]]
    assert {path.name for path in files(tmp_path) if path.suffix != ".json"} == {
        "folder",
        "new.tmp",
    }
