"""The reporter against a router over HTTP, with a real folder."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ToolUnavailable
from agent.job import Turn as JobTurn
from agent.report import CallReporter, NoReporter, reporter_for
from agent.resend import BEGUN_S, Resender
from agent.sender import Sender
from agent.settings import AgentSettings
from agent.spool import BEGUN, Address, SpoolFile, files_in
from personas.contract import Report
from personas.reports import Closed, Fact, Problem, Turn, numbered
from tests.fakes_reports import FakeRouter

SECRET = "s" * 32
HELLO = Turn(by="agent", text="Hello.")


@pytest.fixture
async def router() -> AsyncIterator[FakeRouter]:
    async with FakeRouter() as router:
        yield router


def reporter(router: FakeRouter, folder: Path, **address: Any) -> CallReporter:
    values = {"call_id": "c1", "attempt": 1, "url": router.url, "token": "good"} | address
    return CallReporter(
        Address.model_validate(values), folder=folder, sender=Sender(lambda _: "minted")
    )


def resender(folder: Path, **limits: Any) -> Resender:
    bounds: dict[str, Any] = {"max_bytes": 1 << 20, "max_age_s": 3600.0} | limits
    return Resender(folder, Sender(lambda _: "minted"), **bounds)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)


async def test_events_arrive_numbered_in_order_and_nothing_is_left(
    router: FakeRouter, tmp_path: Path
) -> None:
    one = reporter(router, tmp_path)

    for number in range(250):
        one.note(Turn(by="agent", text=str(number)))
    await one.aclose()

    assert [event.seq for event in router.events] == list(range(1, 251))
    assert len(router.reports) < 10
    assert files_in(tmp_path) == []


async def test_what_is_kept_is_on_disk(router: FakeRouter, tmp_path: Path) -> None:
    router.held = asyncio.Event()
    one = reporter(router, tmp_path)

    await one.keep(Fact(id="f", category="x", information="y"))

    [path] = files_in(tmp_path)
    assert b'"information":"y"' in path.read_bytes()
    router.held.set()
    await one.aclose()


async def test_an_agent_that_has_nothing_to_tell_leaves_no_trace(
    router: FakeRouter, tmp_path: Path
) -> None:
    await reporter(router, tmp_path / "spool").aclose()

    assert not (tmp_path / "spool").exists()
    assert router.asked == 0


@pytest.mark.parametrize("status", [500, 503, 404, 302])
async def test_a_router_that_is_away_gets_it_later(
    router: FakeRouter, tmp_path: Path, status: int
) -> None:
    router.status = status
    one = reporter(router, tmp_path)
    one.note(HELLO)
    await until(lambda: router.asked > 0)

    router.status = 200
    one.note(HELLO)
    await until(lambda: len(router.events) == 2)

    await one.aclose()
    assert files_in(tmp_path) == []


async def test_a_page_of_some_proxy_is_no_acknowledgement(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.answer = "<html>Welcome!</html>"
    one = reporter(router, tmp_path)
    one.note(HELLO)
    await until(lambda: router.asked > 1)
    router.answer = None
    await until(lambda: len(router.events) == 1)

    await one.aclose()


async def test_a_token_that_is_not_good_any_more_is_made_anew(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.tokens = {"minted"}
    one = reporter(router, tmp_path)

    one.note(HELLO)
    await one.aclose()

    assert len(router.events) == 1


async def test_an_event_that_the_router_never_takes_is_dropped_alone(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.refuse_kinds = {"problem"}
    one = reporter(router, tmp_path)
    for number in range(20):
        one.note(Problem(what="?") if number == 13 else HELLO)

    await one.aclose()

    assert [event.seq for event in router.events] == [n for n in range(1, 21) if n != 14]
    assert files_in(tmp_path) == []


async def test_without_a_disk_events_are_sent_all_the_same(
    router: FakeRouter, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    one = reporter(router, tmp_path / "file")

    one.note(HELLO)
    await one.keep(HELLO)
    await one.aclose()

    assert len(router.events) == 2


async def test_what_is_left_at_the_end_is_sent_by_the_main_process(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.status = 503
    one = reporter(router, tmp_path)
    one.note(HELLO)
    await one.keep(Closed(reason="done", disposition="answered"))
    await one.aclose()
    assert len(files_in(tmp_path)) == 1
    router.status = 200
    again = resender(tmp_path)

    await again.turn()
    await again.aclose()

    assert [event.kind for event in router.events] == ["turn", "closed"]
    assert files_in(tmp_path) == []


async def test_the_main_process_leaves_a_living_call_alone(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.status = 503
    one, again = reporter(router, tmp_path), resender(tmp_path, max_bytes=0)
    await one.keep(HELLO)
    asked = router.asked

    await again.turn()

    assert len(files_in(tmp_path)) == 1
    assert router.asked - asked <= 1  # by the call itself
    router.status = 200
    await one.aclose()
    await again.aclose()


def leave(folder: Path, call_id: str, url: str, size: int = 10) -> Path:
    """Leave a file as a process does that was killed."""
    file = SpoolFile.create(folder, Address(call_id=call_id, attempt=1, url=url, token="t"))
    file.append([numbered(Turn(by="agent", text="x" * size), seq=1, attempt=1, at=1.0)])
    file.close()
    return file.path


async def test_a_router_that_is_away_is_asked_for_one_file_only(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.status = 503
    for number in range(5):
        leave(tmp_path, f"c{number}", router.url)
    again = resender(tmp_path)

    await again.turn()

    assert (router.asked, len(files_in(tmp_path))) == (1, 5)
    router.status = 200
    await again.aclose()
    assert files_in(tmp_path) == []


async def test_what_is_too_much_or_too_old_is_dropped(router: FakeRouter, tmp_path: Path) -> None:
    router.status = 503
    old = leave(tmp_path, "old", router.url)
    os.utime(old, (time.time() - 7_200, time.time() - 7_200))
    big = leave(tmp_path, "big", router.url, size=5_000)
    os.utime(big, (time.time() - 60, time.time() - 60))
    new = leave(tmp_path, "new", router.url)
    begun = tmp_path / f"x.1.7{BEGUN}"
    begun.touch()
    os.utime(begun, (time.time() - BEGUN_S - 60, time.time() - BEGUN_S - 60))
    again = resender(tmp_path, max_bytes=3_000)

    await again.turn()

    assert (files_in(tmp_path), begun.exists()) == ([new], False)
    await again.aclose()


async def test_a_file_that_cannot_be_read_stops_no_other(
    router: FakeRouter, tmp_path: Path
) -> None:
    (tmp_path / "a.1.spool").write_bytes(b"rubbish\n")
    os.utime(tmp_path / "a.1.spool", (1, 1))
    leave(tmp_path, "b", router.url)
    again = resender(tmp_path, max_age_s=1e12)

    await again.turn()

    assert len(router.events) == 1
    assert [path.name for path in files_in(tmp_path)] == ["a.1.spool"]
    await again.aclose()


async def test_the_main_process_works_by_itself(router: FakeRouter, tmp_path: Path) -> None:
    leave(tmp_path, "c", router.url)
    again = resender(tmp_path)
    running = asyncio.create_task(again.run())

    await until(lambda: files_in(tmp_path) == [])

    running.cancel()
    await asyncio.wait({running})
    await again.aclose()


# ---- tools ----


async def test_the_router_runs_a_tool(router: FakeRouter, tmp_path: Path) -> None:
    one = reporter(router, tmp_path)

    said = await one.tool("check_calendar", {"day": "Monday"}, deadline_s=5.0)

    assert said == "check_calendar is done"
    assert router.tools == [("c1", "check_calendar", {"arguments": {"day": "Monday"}})]
    await one.aclose()


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        pytest.param(422, '{"detail": "It is taken."}', "It is taken.", id="words"),
        pytest.param(500, '{"detail": "a secret"}', "cannot be done", id="defect"),
        pytest.param(200, "<html>", "no answer", id="page"),
        pytest.param(200, "[]", "no answer", id="list"),
        pytest.param(200, '{"result": 7}', "cannot be done", id="no-text"),
    ],
)
async def test_a_tool_that_fails_fails_in_words(
    router: FakeRouter, tmp_path: Path, status: int, answer: str, words: str
) -> None:
    router.status, router.answer = status, answer
    one = reporter(router, tmp_path)

    with pytest.raises(ToolUnavailable, match=words):
        await one.tool("book", {}, deadline_s=5.0)
    await one.aclose()


async def test_a_tool_has_a_deadline_and_arguments_that_are_json(
    router: FakeRouter, tmp_path: Path
) -> None:
    router.held = asyncio.Event()
    one = reporter(router, tmp_path)

    with pytest.raises(ToolUnavailable):
        await one.tool("book", {}, deadline_s=0.05)
    with pytest.raises(ToolUnavailable):
        await one.tool("book", {"x": object()}, deadline_s=0.05)
    router.held.set()
    await one.aclose()


async def test_without_a_router_there_are_no_tools() -> None:
    nobody = NoReporter()
    nobody.note(HELLO)
    await nobody.keep(HELLO)

    with pytest.raises(ToolUnavailable):
        await nobody.tool("book", {}, deadline_s=1.0)
    await nobody.aclose()


# ---- where to ----


def settings(**values: Any) -> AgentSettings:
    return AgentSettings.load(
        livekit_url="ws://127.0.0.1:1",
        livekit_api_key="key",
        livekit_api_secret=SECRET,
        **values,
    )


REPORT = Report(url="http://127.0.0.1:9/api/reports", token="t")


@pytest.mark.parametrize(
    ("turn", "router_url", "reports"),
    [
        pytest.param(JobTurn(), "", False, id="nowhere"),
        pytest.param(JobTurn(1, "c1", None, REPORT), "", True, id="as-the-job-says"),
        pytest.param(JobTurn(), "http://127.0.0.1:9/", True, id="of-another-backend"),
        pytest.param(JobTurn(1, "c1", None, REPORT), "http://127.0.0.1:9", True, id="overridden"),
        pytest.param(JobTurn(-1, "c1", None, REPORT), "", False, id="no-attempt"),
    ],
)
def test_a_call_is_reported_where_it_is_known_where_to(
    turn: JobTurn, router_url: str, reports: bool
) -> None:
    made = reporter_for(turn, settings(router_url=router_url))

    assert isinstance(made, CallReporter) is reports
