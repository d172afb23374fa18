"""What agents ask of the router, over ASGI."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.routing import Route

from personas.contract import decode
from personas.model import Persona
from personas.reports import (
    MAX_REPORT_BYTES,
    CallReport,
    Closed,
    Event,
    Fact,
    Opened,
    Problem,
    Turn,
    numbered,
)
from personas.tokens import call_token, sign
from router.access import operator_token
from router.api.tools import run_tool as run_tool_endpoint
from router.demo.deliveries import body
from router.errors import ToolRefused
from router.records.calls import VANISHED_S
from tests.router.test_app import Running, ringing, started
from tests.samples import KEY, SECRET

CALL = "c0ffee"
PORT: dict[str, Any] = {"port": 8080}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with started(tmp_path, **PORT) as running:
        yield running


def token(call_id: str = CALL) -> str:
    return call_token(call_id, SECRET.decode(), time.time())


def report(*events: Event, call_id: str = CALL, first: int = 1) -> str:
    at = time.time()
    made = [numbered(event, seq=seq, attempt=1, at=at) for seq, event in enumerate(events, first)]
    return CallReport(call_id=call_id, events=tuple(made)).model_dump_json()


async def post(
    running: Running, content: str | bytes, bearer: str | None = None, path: str = "/api/reports"
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer or token()}"}
    return await running.client.post(path, content=content, headers=headers)


async def seen(running: Running, path: str) -> Any:
    token = operator_token(SECRET.decode(), time.time())
    headers = {"Authorization": f"Bearer {token}"}
    return (await running.client.get(f"{path}?numbers=clear", headers=headers)).json()


OPENED = Opened(room="call-1", caller="+4930901820")
TURN = Turn(by="agent", text="Hello.")


async def test_a_report_is_stored_and_acknowledged(running: Running) -> None:
    answer = await post(running, report(OPENED, TURN))

    assert (answer.status_code, answer.json()) == (200, {"acknowledged": 2})
    shown = await seen(running, f"/api/calls/{CALL}")
    assert shown["call"]["caller"] == "+4930901820"
    assert [turn["text"] for turn in shown["transcript"]] == ["Hello."]


async def test_what_was_wrong_in_a_call_is_counted_by_its_code(running: Running) -> None:
    missing = Problem(what="agent_config.name is missing", code="required_missing")

    await post(running, report(OPENED, missing, missing))

    page = (await running.client.get("/metrics")).text
    assert 'persona_router_call_problems_total{code="required_missing"} 2.0' in page


@pytest.mark.parametrize(
    "bearer",
    [
        pytest.param("x", id="rubbish"),
        pytest.param(token("another"), id="another-call's"),
        pytest.param(call_token(CALL, "o" * 32, time.time()), id="another-secret's"),
        pytest.param(call_token(CALL, SECRET.decode(), time.time() - 90_000), id="expired"),
        pytest.param(
            sign({"iss": KEY, "nbf": 0, "exp": time.time() + 60, "call_id": CALL}, SECRET),
            id="livekit's",
        ),
    ],
)
async def test_only_the_token_of_the_call_may_report_on_it(running: Running, bearer: str) -> None:
    answers = [
        await post(running, report(OPENED), bearer),
        await post(running, '{"arguments": {}}', bearer, f"/api/calls/{CALL}/tools/clock"),
    ]

    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["fix"]
    assert (await seen(running, f"/api/calls/{CALL}"))["code"] == "no_such_call"


async def test_a_call_token_delivers_no_webhook(running: Running) -> None:
    answer = await running.deliver(ringing(), Authorization=token())

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param("", 400, id="empty"),
        pytest.param("[]", 400, id="list"),
        pytest.param('{"call_id": "c0ffee", "events": []}', 400, id="no-events"),
        pytest.param("[" * 5_000, 400, id="deep"),
        pytest.param(b"\xff", 400, id="bytes"),
        pytest.param(report(TURN).replace('"turn"', '"rumour"'), 400, id="kind"),
        pytest.param(report(TURN).replace('"seq":1', '"seq":0'), 400, id="seq"),
        pytest.param(" " * (MAX_REPORT_BYTES + 1), 413, id="large"),
    ],
)
async def test_what_is_no_report_is_refused_and_not_quoted(
    running: Running, content: str | bytes, status: int
) -> None:
    answer = await post(running, content)

    assert answer.status_code == status
    assert answer.json()["fix"]
    assert "rumour" not in answer.text


async def test_while_the_database_is_away_the_agent_shall_send_again(running: Running) -> None:
    await running.services.store.write(lambda c: c.execute(sa.text("DROP TABLE call_events")))

    answer = await post(running, report(OPENED))

    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")


async def test_an_agent_is_told_where_to_report_and_a_record_begins(running: Running) -> None:
    await running.deliver(ringing())

    [request] = running.dispatched()
    _, config = decode(request.metadata)
    assert config is not None
    assert config.report is not None
    assert config.report.url == "http://127.0.0.1:8080/api/reports"
    content = report(OPENED, TURN, call_id=config.call_id)
    assert (await post(running, content, config.report.token)).status_code == 200
    [call] = (await seen(running, "/api/calls"))["items"]
    assert (call["call_id"], call["opened_by"], call["turns"]) == (config.call_id, "router", 1)
    assert call["caller"] == "+4930901820"


async def test_an_agent_is_told_nothing_where_the_address_is_not_known(tmp_path: Path) -> None:
    async with started(tmp_path, host="0.0.0.0", **PORT) as running:  # noqa: S104
        await running.deliver(ringing())

        _, config = decode(running.dispatched()[0].metadata)

    assert config is not None
    assert config.report is None


async def test_a_persona_that_remembers_is_sent_what_the_caller_told_before(
    tmp_path: Path,
) -> None:
    (tmp_path / "+13125550100.yaml").write_text("personality: You are brief.\nremember: true\n")
    async with started(tmp_path, persona_dir=tmp_path, **PORT) as running:
        fact = Fact(id="f", category="personal_info", information="has a dog")
        await post(running, report(OPENED, fact, call_id="before"), token("before"))

        await running.deliver(ringing())

        _, config = decode(running.dispatched()[0].metadata)
    assert config is not None
    [told] = config.memory
    assert isinstance(told, dict)
    assert (told["category"], told["information"]) == ("personal_info", "has a dog")


async def test_the_record_ends_with_the_room(running: Running) -> None:
    await running.deliver(ringing())
    await running.deliver(body(event="room_finished", room="call-1", room_sid="RM_call-1"))
    await running.services.bookkeeping.turn()

    [call] = (await seen(running, "/api/calls"))["items"]

    assert (call["closed_by"], call["reason"]) == ("router", "the room was closed")


async def test_the_record_ends_with_the_claim(running: Running) -> None:
    await running.deliver(ringing())
    await running.services.store.flush()
    claims = running.services.watch.claims
    await claims.ended(await claims.watched(), "no agent came")

    await running.services.bookkeeping.turn()

    [call] = (await seen(running, "/api/calls"))["items"]
    assert (call["reason"], call["disposition"]) == ("no agent came", "no_answer")


async def test_the_record_ends_when_the_room_is_not_listed_any_more(tmp_path: Path) -> None:
    ahead = [0.0]
    async with started(tmp_path, lambda: time.time() + ahead[0], **PORT) as running:
        opened = replace_opened(room_sid="RM_of_another_backend")
        await post(running, report(opened))
        ahead[0] = VANISHED_S + 1
        running.livekit.answers["ListRooms"] = (200, b"")

        await running.services.bookkeeping.turn()

        [call] = (await seen(running, "/api/calls"))["items"]
        assert (call["reason"], call["closed_by"]) == ("the room is gone", "router")
        closed = Closed(reason="the caller hung up", disposition="answered")
        await post(running, report(closed, first=2))
        [call] = (await seen(running, "/api/calls"))["items"]
        assert (call["reason"], call["closed_by"]) == ("the caller hung up", "agent")


def replace_opened(**fields: Any) -> Opened:
    return OPENED.model_copy(update=fields)


async def test_an_upkeep_that_fails_is_tried_again(running: Running) -> None:
    await running.services.store.write(lambda c: c.execute(sa.text("DROP TABLE calls")))

    await running.services.bookkeeping.turn()


# ---- tools ----


class FakeToolbox:
    """Answers with what it was asked, or as ``failing`` says."""

    def __init__(self, failing: Exception | None = None) -> None:
        self.failing = failing

    async def run(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> str:
        if self.failing is not None:
            raise self.failing
        return f"{call_id} {name} {arguments['day']}"

    async def rehearse(
        self, persona: Persona, name: str, arguments: Mapping[str, Any], *, tenant: str
    ) -> str:
        raise NotImplementedError


TOOL = f"/api/calls/{CALL}/tools/check_calendar"


async def run_tool(tmp_path: Path, toolbox: FakeToolbox, content: str) -> httpx.Response:
    async with started(tmp_path) as running:
        services = replace(running.services, toolbox=toolbox)
        route = Route("/api/calls/{id}/tools/{name}", run_tool_endpoint, methods=["POST"])
        app = Starlette(routes=[route])

        async def with_tools(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": {"services": services}}, receive, send)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(with_tools), base_url="http://router"
        ) as client:
            headers = {"Authorization": f"Bearer {token()}"}
            return await client.post(TOOL, content=content, headers=headers)


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        pytest.param(ToolRefused("The calendar is away."), 422, id="refused"),
        pytest.param(ToolRefused("There is no such tool.", status=404), 404, id="unknown"),
        pytest.param(RuntimeError("a defect"), 500, id="defect"),
        pytest.param(TimeoutError(), 504, id="slow"),
    ],
)
async def test_a_tool_that_fails_is_an_answer(
    tmp_path: Path, failing: Exception, status: int
) -> None:
    answer = await run_tool(tmp_path, FakeToolbox(failing), '{"arguments": {"day": "Monday"}}')

    assert answer.status_code == status
    assert "a defect" not in answer.text
    if isinstance(failing, ToolRefused):
        assert answer.json()["detail"] == failing.reason


@pytest.mark.parametrize("content", ["", "[]", '{"arguments": 1}', "[" * 5_000])
async def test_arguments_are_an_object(running: Running, content: str) -> None:
    answer = await post(running, content, path=TOOL)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_arguments")


async def test_a_call_without_a_record_has_no_tools(running: Running) -> None:
    answer = await post(running, '{"arguments": {}}', path=TOOL)

    assert (answer.status_code, answer.json()["code"]) == (409, "tool_not_done")
    assert answer.json()["detail"].endswith(".")


async def test_what_comes_together_is_stored_once(running: Running) -> None:
    content = report(OPENED, TURN, TURN)

    answers = await asyncio.gather(*(post(running, content) for _ in range(10)))

    assert {answer.json()["acknowledged"] for answer in answers} == {3}
    [call] = (await seen(running, "/api/calls"))["items"]
    assert call["turns"] == 2
