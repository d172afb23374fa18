import asyncio
import json
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from personas.breaker import Breaker, Limits
from personas.building import build_lookup
from personas.cache import Windows
from personas.errors import PersonaError, PersonaInvalid, PersonaNotFound, PersonaUnavailable
from personas.found import Found, Step
from personas.lookup import WARM_UP_AT_ONCE, PersonaLookup
from personas.model import Persona
from personas.phone import DialedNumber, read_dialed
from personas.sources.files import FilePersonaSource, shipped
from personas.sources.http import HttpPersonaSource
from personas.sources.last_known_good import LastKnownGood
from tests.fakes_personas import HOUSE, FakeClock, FakePersonaApi, document, persona, until

DIALED = read_dialed("+13125550100", "US")
NUMBER = DIALED.number
assert NUMBER is not None
BASE = "https://personas.example/mobile"
NUMBERS = [read_dialed(f"+1312555010{digit}", "US") for digit in range(4)]


class Stand:
    """A lookup over a fake API, with a folder, a disk and clocks."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.clock, self.wall = FakeClock(), FakeClock(1_000_000_000.0)
        self.api = FakePersonaApi()
        self.folder, self.disk = tmp_path / "personas", tmp_path / "state"
        self.folder.mkdir()
        self.last_known_good = LastKnownGood(self.disk, wall=self.wall)
        self.lookup = self.another(**options)

    def another(self, **options: Any) -> PersonaLookup:
        """Give a lookup over the same disk, as after a restart."""
        collaborators: dict[str, Any] = {
            "house": HOUSE,
            "source": self.api,
            "files": FilePersonaSource(self.folder),
            "last_known_good": self.last_known_good,
            "clock": self.clock,
        }
        return PersonaLookup(**(collaborators | options))

    def file(self, name: str, text: str, *, at: int = 1) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")
        os.utime(self.folder / name, (at, at))

    def pass_by(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wall.advance(seconds)

    async def find(self) -> Found:
        return await self.lookup.find(DIALED)


@pytest.fixture
async def stand(tmp_path: Path) -> Any:
    stand = Stand(tmp_path)
    yield stand
    await stand.lookup.aclose()
    assert stand.api.closed


def trail(found: Found) -> list[tuple[str, str]]:
    return [(step.source, step.outcome) for step in found.steps]


async def test_the_api_answers(stand: Stand) -> None:
    found = await stand.find()

    assert found.persona == persona("+13125550100", revision=0)
    assert found.origin.source == "api"
    assert found.origin.version == found.persona.version
    assert found.origin.age_s == 0
    assert found.origin.because == "the persona API answered"
    assert trail(found) == [("api", "ok")]


async def test_a_fresh_copy_answers_without_asking(stand: Stand) -> None:
    first = await stand.find()
    stand.pass_by(59)

    again = await stand.find()

    assert again.persona is first.persona
    assert (again.origin.source, again.origin.age_s) == ("api", 59)
    assert again.origin.because == "the persona API answered 59 s ago"
    assert again.steps == (Step("cache", "fresh", 0.0),)
    assert len(stand.api.asked) == 1


async def test_a_copy_within_ten_minutes_answers_at_once_and_is_renewed(stand: Stand) -> None:
    await stand.find()
    stand.pass_by(300)
    stand.api.held = asyncio.Event()
    stand.api.revision = 1

    at_once = await stand.find()
    await stand.find()

    assert at_once.persona == persona("+13125550100", revision=0)
    assert (at_once.origin.source, at_once.origin.age_s) == ("stale", 300)
    assert at_once.origin.because == ("the persona API answered 5 min ago; it is being asked again")
    await until(lambda: len(stand.api.asked) == 2)
    stand.api.held.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)

    renewed = await stand.find()

    assert renewed.persona == persona("+13125550100", revision=1)
    assert renewed.origin.source == "api"
    assert len(stand.api.asked) == 2
    assert stand.api.asked[1][1] is not None  # what is held, for its etag


FAILURES = [
    (PersonaUnavailable(reason="timeout"), "did not answer in time (timeout)"),
    (PersonaUnavailable(reason="connect"), "could not be reached (connect)"),
    (PersonaUnavailable(reason="connection"), "could not be reached (connection)"),
    (PersonaUnavailable(reason="status_500"), "failed (status_500)"),
    (PersonaUnavailable(reason="unauthorized"), "refused our token (unauthorized)"),
    (PersonaInvalid(reason="not_json"), "gave an answer that cannot be used (not_json)"),
    (
        PersonaInvalid(reason="other_number"),
        "answered with another number's persona (other_number)",
    ),
    (KeyError("a bug"), "failed (KeyError)"),
]


@pytest.mark.parametrize(("failure", "said"), FAILURES)
async def test_a_copy_up_to_a_day_old_answers_when_the_api_does_not(
    stand: Stand, failure: Exception, said: str
) -> None:
    await stand.find()
    stand.pass_by(7300)
    stand.api.failing = failure

    with capture_logs():
        found = await stand.find()

    assert found.persona == persona("+13125550100", revision=0)
    assert (found.origin.source, found.origin.age_s) == ("stale", 7300)
    assert found.origin.because == f"the persona API {said}; last copy of 2 h ago"
    assert [source for source, _ in trail(found)] == ["api", "cache"]


@pytest.mark.parametrize(("failure", "said"), FAILURES)
async def test_then_the_last_good_copy_on_disk(stand: Stand, failure: Exception, said: str) -> None:
    stand.file("+13125550100.yaml", "personality: file\n")
    await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.pass_by(3 * 86_400)
    stand.api.failing = failure

    with capture_logs():
        found = await stand.another().find(DIALED)

    assert found.persona == persona("+13125550100", revision=0)
    assert (found.origin.source, found.origin.age_s) == ("last_known_good", 3 * 86_400)
    assert found.origin.because == (
        f"the persona API {said}; last good copy on disk, of 3 days ago"
    )


async def test_then_the_file(stand: Stand) -> None:
    stand.api.failing = PersonaUnavailable(reason="connect")
    stand.file("+13125550100.yaml", "personality: file\n")

    found = await stand.find()

    assert found.persona.personality == "file"
    assert found.origin.source == "file"
    assert found.origin.because == "the persona API could not be reached (connect); it has a file"
    assert trail(found) == [("api", "connect"), ("last_known_good", "none"), ("file", "ok")]


async def test_then_the_house_persona(stand: Stand) -> None:
    stand.api.failing = PersonaUnavailable(reason="connect")
    stand.file("house.yaml", "personality: ours\n")

    found = await stand.find()

    assert found.persona.personality == "ours"
    assert found.origin.source == "house"
    assert found.origin.because == (
        "the persona API could not be reached (connect); it has no file"
    )
    assert trail(found)[-2:] == [("file", "none"), ("house", "ok")]
    assert stand.lookup.house_persona == found.persona


async def test_a_broken_file_is_passed_over(stand: Stand) -> None:
    stand.api.failing = PersonaNotFound()
    stand.file("+13125550100.yaml", "personality: [\n")

    with capture_logs():
        found = await stand.find()

    assert found.origin.source == "house"
    assert found.origin.because == ("the persona API knows no such number; its file is broken")
    assert ("file", "not_yaml") in trail(found)


async def test_no_such_number_drops_every_copy(stand: Stand) -> None:
    await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.pass_by(700)
    stand.api.failing = PersonaNotFound(reason="not_found")

    gone = await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.api.failing = PersonaUnavailable(reason="connect")
    still_gone = await stand.find()
    stand.pass_by(31)
    later = await stand.find()
    after_restart = await stand.another().find(DIALED)

    assert gone.origin.source == "house"
    assert gone.origin.because == "the persona API knows no such number; it has no file"
    assert trail(gone) == [("api", "not_found"), ("file", "none"), ("house", "ok")]
    assert trail(still_gone)[0] == ("cache", "absent")
    assert {found.origin.source for found in (still_gone, later, after_restart)} == {"house"}
    assert len(stand.api.asked) == 4


async def test_no_such_number_is_asked_again_after_half_a_minute(stand: Stand) -> None:
    stand.api.failing = PersonaNotFound()
    await stand.find()
    stand.api.failing = None

    stand.pass_by(29)
    assert (await stand.find()).origin.source == "house"
    stand.pass_by(1)
    assert (await stand.find()).origin.source == "api"


async def test_without_an_api_files_answer(tmp_path: Path) -> None:
    stand = Stand(tmp_path, source=None, last_known_good=None)
    stand.file("13125550100.yaml", "personality: file\n")

    found = await stand.find()

    assert (found.origin.source, found.persona.personality) == ("file", "file")
    assert found.origin.because == "no persona API is configured; it has a file"
    await stand.lookup.aclose()


async def test_with_nothing_at_all_the_house_persona_answers() -> None:
    lookup = PersonaLookup(house=HOUSE)

    found = await lookup.find(DIALED)

    assert found.persona is HOUSE
    assert found.origin.because == "no persona API is configured"
    await lookup.aclose()


async def test_an_unknown_number_gets_the_house_persona_and_nobody_is_asked(stand: Stand) -> None:
    found = await stand.lookup.find(read_dialed("anonymous", "US"))

    assert found.origin.source == "house"
    assert found.origin.because == "number unknown"
    assert stand.api.asked == []


async def test_the_house_persona_can_be_asked_for_with_a_reason(stand: Stand) -> None:
    found = await stand.lookup.house("the caller hides the number")

    assert found.persona is not None
    assert (found.origin.source, found.origin.because) == ("house", "the caller hides the number")
    assert found.origin.version == found.persona.version


async def test_a_slow_api_costs_the_budget_and_its_answer_serves_the_next_call(
    tmp_path: Path,
) -> None:
    stand = Stand(tmp_path, budget_s=0.2)
    stand.api.held = asyncio.Event()
    started = time.perf_counter()

    slow = await stand.find()

    assert 0.15 < time.perf_counter() - started < 0.35
    assert slow.origin.source == "house"
    assert slow.origin.because.startswith("the persona API did not answer in time (timeout)")
    stand.api.held.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)

    next_one = await stand.find()

    assert next_one.persona == persona("+13125550100", revision=0)
    assert len(stand.api.asked) == 1
    await stand.lookup.aclose()


async def test_a_late_no_such_number_counts_for_the_next_call(tmp_path: Path) -> None:
    stand = Stand(tmp_path, budget_s=0.05)
    await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.pass_by(700)
    stand.api.held = asyncio.Event()
    stand.api.failing = PersonaNotFound()

    assert (await stand.find()).origin.source == "stale"
    stand.api.held.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)

    assert (await stand.find()).origin.source == "house"
    await stand.lookup.aclose()


async def test_callers_of_one_number_share_one_request(stand: Stand) -> None:
    stand.api.held = asyncio.Event()
    callers = [asyncio.create_task(stand.find()) for _ in range(10)]
    await until(lambda: len(stand.api.asked) == 1)

    callers[0].cancel()
    stand.api.held.set()
    found = await asyncio.gather(*callers, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, Found) and one.origin.source == "api" for one in found[1:])
    assert len(stand.api.asked) == 1


async def test_the_notation_that_was_dialed_is_part_of_the_question(stand: Stand) -> None:
    await stand.find()
    await stand.lookup.find(read_dialed("3125550100", "US"))
    await stand.lookup.find(read_dialed("(312) 555-0100", "US"))

    assert len(stand.api.asked) == 2


async def broken_down(stand: Stand) -> None:
    """Have the API fail until it is left alone."""
    stand.api.failing = PersonaUnavailable(reason="connect")
    with capture_logs():
        for dialed in NUMBERS[:1] * Limits().in_a_row:
            await stand.lookup.find(dialed)
    assert stand.lookup.breaker_state == "open"
    stand.api.asked.clear()


async def test_an_api_that_fails_and_fails_is_not_asked_for_a_while(stand: Stand) -> None:
    await broken_down(stand)
    stand.api.failing = None

    found = await stand.find()

    assert stand.api.asked == []
    assert found.origin.source == "house"
    assert found.origin.because == (
        "the persona API failed too often and is left alone for a moment (breaker_open); "
        "it has no file"
    )
    assert trail(found)[0] == ("api", "breaker_open")


async def test_then_one_call_finds_out_whether_the_api_is_back_and_the_rest_do_not_wait(
    stand: Stand,
) -> None:
    await broken_down(stand)
    stand.pass_by(Limits().open_s)
    stand.api.failing = None
    stand.api.held = asyncio.Event()
    started = time.perf_counter()

    probing = await stand.lookup.find(NUMBERS[0])
    others = [await stand.lookup.find(dialed) for dialed in NUMBERS[1:]]

    assert time.perf_counter() - started < 1.0  # a share of the budget of 2 s, once
    assert trail(probing)[0] == ("api", "timeout")
    assert [trail(found)[0] for found in others] == [("api", "breaker_open")] * 3
    assert len(stand.api.asked) == 1
    with capture_logs() as logs:
        stand.api.held.set()
        await until(lambda: len(asyncio.all_tasks()) == 1)
    assert [entry["event"] for entry in logs] == ["persona_api.recovered"]
    assert stand.lookup.breaker_state == "closed"
    assert (await stand.lookup.find(NUMBERS[1])).origin.source == "api"


@pytest.mark.parametrize("answer", [PersonaNotFound(), PersonaInvalid(reason="not_json")])
async def test_an_api_that_answers_is_asked_on_whatever_it_says(
    stand: Stand, answer: PersonaError
) -> None:
    stand.api.failing = answer
    for _ in range(3 * Limits().in_a_row):
        stand.pass_by(31)
        await stand.find()

    assert stand.lookup.breaker_state == "closed"


async def test_a_copy_speaks_while_the_api_is_left_alone(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.lookup = stand.another(breaker=Breaker(clock=stand.clock, limits=Limits(open_s=1000)))
    await stand.lookup.find(NUMBERS[1])
    await broken_down(stand)
    stand.pass_by(700)

    found = await stand.lookup.find(NUMBERS[1])

    assert (found.origin.source, stand.api.asked) == ("stale", [])
    await stand.lookup.aclose()


# ---- how old a copy may be ------------------------------------------------------------------

DAY = 86_400


@pytest.mark.parametrize(
    ("own", "everyones", "in_memory_s", "on_disk_s"),
    [
        pytest.param(None, math.inf, DAY, 10 * DAY, id="no limit but the day in memory"),
        pytest.param(5000, math.inf, 5000, 5000, id="the document's"),
        pytest.param(None, 5000, 5000, 5000, id="the router's"),
        pytest.param(7000, 5000, 5000, 5000, id="the router's is stricter"),
        pytest.param(5000, 7000, 5000, 5000, id="the document's is stricter"),
        pytest.param(10 * DAY, math.inf, DAY, DAY, id="a document can allow itself a day"),
    ],
)
async def test_a_copy_older_than_it_may_be_does_not_speak(
    tmp_path: Path, own: float | None, everyones: float, in_memory_s: float, on_disk_s: float
) -> None:
    stand = Stand(tmp_path, max_stale_s=everyones)
    stand.api.fields = {} if own is None else {"max_stale_s": own}
    await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.api.failing = PersonaUnavailable(reason="connect")

    stand.pass_by(in_memory_s - 1)
    last_in_memory = await stand.find()
    stand.pass_by(on_disk_s - in_memory_s)
    last_on_disk = await stand.another(max_stale_s=everyones).find(DIALED)
    stand.pass_by(1 if on_disk_s < 10 * DAY else 0)
    after = await stand.find()

    assert last_in_memory.origin.source == "stale"
    assert last_on_disk.origin.source == "last_known_good"
    if on_disk_s < 10 * DAY:
        assert after.origin.source == "house"
        assert ("last_known_good", "too_old") in trail(after)
    await stand.lookup.aclose()


async def test_a_document_that_may_not_be_stale_at_all_is_asked_for_each_time(
    stand: Stand,
) -> None:
    stand.api.fields = {"max_stale_s": 0}

    sources = [(await stand.find()).origin.source for _ in range(3)]

    assert sources == ["api"] * 3
    assert len(stand.api.asked) == 3


# ---- purge ----------------------------------------------------------------------------------


async def test_a_purged_number_is_asked_for_again_in_every_notation(stand: Stand) -> None:
    national = read_dialed("3125550100", "US")
    for dialed in (DIALED, national, NUMBERS[1]):
        await stand.lookup.find(dialed)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.api.asked.clear()
    stand.api.revision = 1

    told = await stand.lookup.purge(NUMBER)

    assert told is None  # there is nobody else
    assert len(list(stand.disk.iterdir())) == 1
    for dialed in (DIALED, national):
        found = await stand.lookup.find(dialed)
        assert found.persona == persona("+13125550100", revision=1)
    await stand.lookup.find(NUMBERS[1])
    assert [asked for asked, _ in stand.api.asked] == ["+13125550100"] * 2


async def test_all_numbers_can_be_purged(stand: Stand) -> None:
    for dialed in NUMBERS:
        await stand.lookup.find(dialed)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.api.failing = PersonaUnavailable(reason="connect")

    await stand.lookup.purge(None)

    assert list(stand.disk.iterdir()) == []
    assert {(await stand.lookup.find(dialed)).origin.source for dialed in NUMBERS} == {"house"}


async def test_an_answer_that_was_asked_for_before_a_purge_is_not_used(stand: Stand) -> None:
    stand.api.held = asyncio.Event()
    ringing = asyncio.create_task(stand.find())
    await until(lambda: len(stand.api.asked) == 1)
    before, stand.api.held = stand.api.held, asyncio.Event()

    stand.api.revision = 1
    await stand.lookup.purge(NUMBER)
    before.set()
    await until(lambda: len(stand.api.asked) == 2)
    stand.api.held.set()

    assert (await ringing).persona == persona("+13125550100", revision=1)
    assert (await stand.find()).persona == persona("+13125550100", revision=1)


# ---- warm-up --------------------------------------------------------------------------------


async def test_known_numbers_are_looked_up_at_start_as_they_were_dialed(stand: Stand) -> None:
    national = read_dialed("3125550101", "US")
    await stand.find()
    await stand.lookup.find(national)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.file("+13125550102.yaml", "personality: file\n")
    stand.file("13125550103.json", '{"personality": "file"}')
    stand.file("hotel.yaml", "personality: no number\n")
    stand.file("house.yaml", "personality: [broken\n")
    stand.api.asked.clear()
    restarted = stand.another()

    with capture_logs() as logs:
        restarted.start(warm_up=100, region="US")
        await until(lambda: any(entry["event"] == "personas.warmed" for entry in logs))

    assert sorted(asked for asked, _ in stand.api.asked) == [
        f"+1312555010{digit}" for digit in range(4)
    ]
    for dialed in (DIALED, national, *NUMBERS[2:]):
        assert (await restarted.find(dialed)).steps == (Step("cache", "fresh", 0.0),)
    assert logs[-1]["numbers"] == 4


async def test_a_warm_up_is_bounded_and_delays_no_call(stand: Stand) -> None:
    for digit in range(10):
        stand.file(f"+131255501{digit:02}.yaml", "personality: file\n")
    stand.api.held = slow = asyncio.Event()
    stand.lookup.start(warm_up=6)
    await until(lambda: len(stand.api.asked) == WARM_UP_AT_ONCE)
    stand.api.held = None
    started = time.perf_counter()

    found = await stand.lookup.find(read_dialed("+13125550142", "US"))

    assert time.perf_counter() - started < 0.5
    assert found.origin.source == "api"
    slow.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert len(stand.api.asked) == 6 + 1


async def test_a_warm_up_does_not_press_on_an_api_that_is_down(stand: Stand) -> None:
    for digit in range(50):
        stand.file(f"+131255501{digit:02}.yaml", "personality: file\n")
    stand.api.failing = PersonaUnavailable(reason="connect")

    with capture_logs() as logs:
        stand.lookup.start(warm_up=100)
        await until(lambda: logs[-1:] != [] and logs[-1]["event"] == "personas.warmed")

    assert len(stand.api.asked) <= Limits().in_a_row + WARM_UP_AT_ONCE


async def test_without_an_api_a_warm_up_reads_the_files(tmp_path: Path) -> None:
    stand = Stand(tmp_path, source=None, last_known_good=None)
    stand.file("+13125550100.yaml", "personality: [broken\n")

    with capture_logs() as logs:
        stand.lookup.start(warm_up=100)
        await until(lambda: logs[-1:] != [] and logs[-1]["event"] == "personas.warmed")

    assert logs[0]["event"] == "persona_file.refused"
    await stand.lookup.aclose()


async def test_closing_ends_the_warm_up(stand: Stand) -> None:
    await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.api.held = asyncio.Event()
    restarted = stand.another()
    restarted.start(warm_up=100)
    await until(lambda: len(stand.api.asked) == 2)

    await restarted.aclose()

    assert len(asyncio.all_tasks()) == 1


class Broken:
    """Collaborators with a defect."""

    async def find(self, _number: Any) -> Persona | None:
        raise RuntimeError("a bug")

    async def load(self, _number: Any) -> None:
        raise RuntimeError("a bug")

    async def house(self) -> Persona:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("where", ["files", "last_known_good"])
async def test_a_defect_in_a_source_still_leaves_the_house_persona(where: str) -> None:
    broken: Any = Broken()
    api = FakePersonaApi(failing=PersonaUnavailable(reason="connect"))
    collaborators: dict[str, Any] = {where: broken}
    lookup = PersonaLookup(house=HOUSE, source=api, **collaborators)

    with capture_logs() as logs:
        found = await lookup.find(DIALED)

    assert found.persona is HOUSE
    assert found.origin.because == "the lookup failed by a defect of its own"
    assert logs[-1]["event"] == "lookup.broken"
    assert logs[-1]["exc_info"] is True
    assert "312" not in repr(logs)


async def test_a_defect_while_reading_the_house_persona_leaves_the_one_in_memory() -> None:
    broken: Any = Broken()
    lookup = PersonaLookup(house=HOUSE, files=broken)

    with capture_logs() as logs:
        found = await lookup.house("number unknown")

    assert found.persona is HOUSE
    assert logs[0]["event"] == "house.unreadable"


class Hanging:
    """A folder on a mount that does not answer."""

    async def find(self, _number: Any) -> Persona | None:
        await asyncio.Event().wait()
        raise AssertionError

    async def house(self) -> Persona:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_folder_that_hangs_costs_no_more_than_the_budget() -> None:
    hanging: Any = Hanging()
    lookup = PersonaLookup(house=HOUSE, files=hanging, budget_s=0.1)
    started = time.perf_counter()

    found = await lookup.find(DIALED)

    assert time.perf_counter() - started < 0.5
    assert found.persona is HOUSE


async def test_closing_finishes_what_is_being_written(stand: Stand) -> None:
    await stand.find()

    await stand.lookup.aclose()

    assert [path.suffix for path in stand.disk.iterdir()] == [".json"]


@pytest.mark.parametrize(
    ("age_s", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (86_400, "1 day"), (2e5, "2 days")],
)
async def test_an_age_is_said_in_words(stand: Stand, age_s: float, said: str) -> None:
    await stand.find()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    stand.pass_by(age_s)
    stand.api.failing = PersonaUnavailable(reason="connect")

    assert f"{said} ago" in (await stand.another().find(DIALED)).origin.because


# ---- put together ---------------------------------------------------------------------------


@respx.mock
async def test_a_lookup_is_built_from_plain_values(tmp_path: Path) -> None:
    counted: list[str] = []
    route = respx.get(f"{BASE}/%2B13125550100").respond(json=document("+13125550100"))
    lookup = build_lookup(
        api_base=BASE,
        api_token="t",
        number_forms=("e164",),
        number_fields=("mobile",),
        budget_s=1.0,
        persona_dir=tmp_path / "personas",
        state_dir=tmp_path / "state",
        count=lambda outcome, _took_s: counted.append(outcome),
    )

    found = await lookup.find(DIALED)
    await lookup.aclose()

    assert found.persona.document == document("+13125550100")
    assert route.calls.last.request.headers["authorization"] == "Bearer t"
    assert counted == ["ok"]
    assert len(list((tmp_path / "state" / "last-known-good").iterdir())) == 1

    route.respond(500)
    restarted = build_lookup(
        api_base=BASE, number_forms=("e164",), budget_s=1.0, state_dir=tmp_path / "state"
    )
    kept = await restarted.find(DIALED)
    await restarted.aclose()

    assert kept.origin.source == "last_known_good"
    assert kept.persona == found.persona


@respx.mock
async def test_how_long_and_how_many_copies_are_kept_can_be_set() -> None:
    respx.get(url__startswith=BASE).mock(
        side_effect=lambda request: httpx.Response(
            200, json=document("+" + request.url.path.rpartition("/")[2].lstrip("+"))
        )
    )
    clock = FakeClock()
    lookup = build_lookup(api_base=BASE, clock=clock, windows=Windows(fresh_s=5.0), max_entries=1)

    first = await lookup.find(NUMBERS[0])
    clock.advance(4.9)
    fresh = await lookup.find(NUMBERS[0])
    clock.advance(0.2)
    stale = await lookup.find(NUMBERS[0])
    await lookup.find(NUMBERS[1])
    dropped = await lookup.find(NUMBERS[0])
    await lookup.aclose()

    assert [trail(found)[0] for found in (first, fresh, stale, dropped)] == [
        ("api", "ok"),
        ("cache", "fresh"),
        ("cache", "revalidating"),
        ("api", "ok"),
    ]


async def test_a_lookup_without_anything_speaks_as_the_shipped_house_persona() -> None:
    lookup = build_lookup()

    found = await lookup.find(DIALED)
    await lookup.aclose()

    assert found.persona == shipped("house")


# ---- whatever happens -----------------------------------------------------------------------

BEHAVIOURS = ["right", "right", "swapped", "absent", "down", "garbage", "slow", "raise", "empty"]


class Body(httpx.AsyncByteStream):
    """A body that is still to be read, as over a wire."""

    def __init__(self, content: Any) -> None:
        self.content = json.dumps(content).encode()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content


class UnreliableApi:
    """An API that does what it is told to next: answers, another's persona, garbage, nothing."""

    def __init__(self) -> None:
        self.behaviour = "right"
        self.release = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        behaviour = self.behaviour
        number = "+" + request.url.path.rpartition("/")[2].lstrip("+")
        if behaviour == "slow":
            await self.release.wait()
        if behaviour == "raise":
            raise httpx.ReadError("x")
        if behaviour == "swapped":
            number = number[:-1] + str((int(number[-1]) + 1) % 10)
        if behaviour in {"right", "swapped", "slow"}:
            return httpx.Response(200, headers={"ETag": number}, stream=Body(document(number)))
        if behaviour == "garbage":
            return httpx.Response(200, stream=Body("<html>"))
        if behaviour == "empty":
            return httpx.Response(200, stream=Body({"data": None}))
        return httpx.Response(404 if behaviour == "absent" else 503)


Act = tuple[str, int, float]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(BEHAVIOURS),
        st.integers(0, len(NUMBERS) - 1),
        st.sampled_from([0.0, 1.0, 31.0, 61.0, 601.0, 90_000.0]),
    ),
    max_size=12,
)


@given(acts=ACTS, side_by_side=st.booleans())
def test_whatever_happens_nobody_speaks_as_another_number(
    acts: list[Act], *, side_by_side: bool
) -> None:
    asyncio.run(_live_through(acts, budget_s=0.01, side_by_side=side_by_side))


def test_in_such_a_life_every_source_gets_to_speak() -> None:
    acts: list[Act] = [
        ("right", 0, 0.0),
        ("swapped", 1, 0.0),
        ("swapped", 0, 601.0),
        ("down", 0, 90_000.0),
        ("absent", 0, 0.0),
        ("right", 0, 31.0),
    ]

    sources = asyncio.run(_live_through(acts, budget_s=1.0, side_by_side=False))

    assert sources == ["api", "house", "stale", "last_known_good", "house", "api"]


async def _live_through(acts: list[Act], *, budget_s: float, side_by_side: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        clock, api = FakeClock(), UnreliableApi()
        async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as client:
            lookup = PersonaLookup(
                house=HOUSE,
                source=HttpPersonaSource(BASE, client=client, pause_s=lambda: 0.0, deadline_s=1.0),
                last_known_good=LastKnownGood(Path(folder), wall=clock),
                budget_s=budget_s,
                clock=clock,
            )
            calls = []
            for behaviour, index, seconds in acts:
                api.behaviour = behaviour
                clock.advance(seconds)
                call = asyncio.create_task(lookup.find(NUMBERS[index]))
                calls.append((NUMBERS[index], call))
                if side_by_side:
                    await asyncio.sleep(0)
                else:
                    await call
                    await asyncio.gather(*lookup._writes)  # a disk takes the time it takes
                if behaviour == "right":
                    api.release.set()
                    api.release = asyncio.Event()
            for dialed, call in calls:
                _check(dialed, await call)
            await lookup.aclose()
            return [(await call).origin.source for _, call in calls]


def _check(dialed: DialedNumber, found: Found) -> None:
    assert dialed.number is not None
    assert found.origin.version == found.persona.version
    assert "312555" not in found.origin.because
    if found.origin.source == "house":
        assert found.persona is HOUSE
    else:
        assert found.persona.document == document(dialed.number.e164)


@given(
    failing=st.sampled_from([*map(type, [PersonaError()]), PersonaNotFound, OSError, ValueError])
)
def test_whatever_a_source_raises_somebody_answers(failing: type[Exception]) -> None:
    async def find() -> Found:
        lookup = PersonaLookup(house=HOUSE, source=FakePersonaApi(failing=failing()))
        try:
            return await lookup.find(DIALED)
        finally:
            await lookup.aclose()

    with capture_logs():
        assert asyncio.run(find()).persona is HOUSE


async def test_a_hit_in_memory_costs_microseconds(stand: Stand) -> None:
    await stand.find()
    rounds = 2000
    started = time.perf_counter()

    for _ in range(rounds):
        await stand.find()

    assert (time.perf_counter() - started) / rounds < 100e-6  # measured: 4; the machine is shared
    assert len(stand.api.asked) == 1
