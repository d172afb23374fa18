"""The HTTP surface, over ASGI; LiveKit's API is a fake server, all else is real."""

import asyncio
import gzip
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.sip import ListSIPInboundTrunkResponse, SIPInboundTrunkInfo

from router.app import ROUTES, build_app
from router.bodies import BODY_S
from router.demo.deliveries import body, caller_attributes
from router.events import MAX_BODY_BYTES, sign
from router.services import Services
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit
from tests.samples import KEY, SECRET, deliveries

PATH = "/livekit-webhook"
DID = "+13125550100"
DISPATCHED = (200, AgentDispatch(id="AD_1").SerializeToString())
IMPATIENT_S = 1.0


class Running:
    """A started application: a client, and the LiveKit that it talks to."""

    def __init__(self, client: httpx.AsyncClient, livekit: FakeLiveKit, services: Services) -> None:
        self.client = client
        self.livekit = livekit
        self.services = services

    async def deliver(self, content: bytes, **headers: str) -> httpx.Response:
        fields = {"Authorization": sign(content, time.time(), KEY, SECRET)} | headers
        return await self.client.post(PATH, content=content, headers=fields)

    def dispatched(self) -> list[CreateAgentDispatchRequest]:
        return [
            CreateAgentDispatchRequest.FromString(content)
            for method, content, _ in self.livekit.asked
            if method == "CreateDispatch"
        ]


@asynccontextmanager
async def started(
    tmp_path: Path, clock: Any = time.time, body_s: float = BODY_S, **settings: Any
) -> AsyncIterator[Running]:
    async with FakeLiveKit() as livekit:
        livekit.answers["CreateDispatch"] = DISPATCHED
        app = build_app(
            RouterSettings.load(
                livekit_url=livekit.url,
                livekit_api_key=KEY,
                livekit_api_secret=SECRET.decode(),
                default_region="US",
                state_dir=tmp_path,
                **{"persona_api_base": "off", **settings},
            ),
            clock,
            body_s=body_s,
        )
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, "state": {**(state or {})}}, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with httpx.AsyncClient(transport=transport, base_url="http://router") as client:
                yield Running(client, livekit, (state or {})["services"])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with started(tmp_path) as running:
        yield running


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Running]:
    """A router that waits for LiveKit no longer than ``IMPATIENT_S``."""
    async with started(tmp_path, dispatch_timeout_s=IMPATIENT_S) as running:
        yield running


def ringing(room: str = "call-1", **attributes: str) -> bytes:
    return body(
        room=room,
        room_sid=f"RM_{room}",
        attributes=caller_attributes(number=DID, caller="+4930901820", call_id=f"SCL_{room}")
        | attributes,
    )


async def test_a_signed_delivery_of_a_caller_is_200_and_dispatches_our_agent(
    running: Running,
) -> None:
    answer = await running.deliver(ringing())

    assert answer.status_code == 200
    [request] = running.dispatched()
    assert (request.room, request.agent_name) == ("call-1", "friday-ai-agent")
    assert request.attributes["persona.attempt"] == "1"


async def test_a_repeated_delivery_is_200_and_does_nothing_more(running: Running) -> None:
    content = ringing()

    answers = [await running.deliver(content) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(running.dispatched()) == 1


async def test_every_recorded_delivery_under_its_own_clock_is_200(tmp_path: Path) -> None:
    current = deliveries()[0]

    def clock() -> float:
        return current.received_at

    async with started(tmp_path, clock) as running:
        for current in deliveries():
            answer = await running.client.post(
                PATH, content=current.body, headers={"Authorization": current.authorization}
            )
            assert answer.status_code == 200
        assert len(running.dispatched()) == 3


async def test_an_unsigned_delivery_is_401_with_a_small_constant_body(running: Running) -> None:
    answers = [
        await running.client.post(PATH, content=ringing()),
        await running.deliver(ringing(), Authorization="Bearer x"),
        await running.deliver(ringing(), Authorization=sign(b"other", time.time(), KEY, SECRET)),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len(answers[0].content) < 200
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert running.dispatched() == []


@pytest.mark.parametrize("content", [b"[]", b'"x"', b"[" * 60_000, b'{"id":NaN}'])
async def test_signed_rubbish_is_400(running: Running, content: bytes) -> None:
    assert (await running.deliver(content)).status_code == 400


async def test_a_compressed_body_is_refused_unread(running: Running) -> None:
    content = gzip.compress(ringing())

    answer = await running.deliver(content, **{"Content-Encoding": "gzip"})

    assert answer.status_code == 400


async def test_a_body_over_the_limit_is_413_and_is_not_read_to_its_end(running: Running) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MAX_BODY_BYTES:
            sent += 4096
            yield b" " * 4096

    answer = await running.client.post(PATH, content=endless())

    assert answer.status_code == 413
    assert sent <= MAX_BODY_BYTES + 2 * 4096


async def test_only_post_delivers(running: Running) -> None:
    answer = await running.client.get(PATH)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("status", "twirp"),
    [(401, b'{"code":"unauthenticated"}'), (429, b'{"code":"resource_exhausted"}')],
)
async def test_our_own_trouble_is_503_with_a_second_to_wait(
    running: Running, status: int, twirp: bytes
) -> None:
    running.livekit.answers["CreateDispatch"] = (status, twirp)

    answer = await running.deliver(ringing())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_lost_answer_of_livekit_is_200_and_not_repeated(impatient: Running) -> None:
    impatient.livekit.hang.add("CreateDispatch")
    content = ringing()

    answers = [await impatient.deliver(content) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(impatient.dispatched()) == 1


async def test_a_delivery_during_the_dispatch_is_put_off_until_the_lease_of_that_is_over(
    impatient: Running,
) -> None:
    impatient.livekit.hang.add("CreateDispatch")
    content = ringing()

    first, second = await asyncio.gather(impatient.deliver(content), impatient.deliver(content))

    assert first.status_code == 200
    lease_s = 2.0 + IMPATIENT_S + 1.0  # budget, dispatch timeout, margin
    assert (second.status_code, second.headers["retry-after"]) == (503, f"{math.ceil(lease_s)}")


async def test_an_outbound_leg_dispatches_nobody(running: Running) -> None:
    attributes = caller_attributes(number=DID)
    del attributes["sip.ruleID"]

    answer = await running.deliver(body(room="out-1", room_sid="RM_2", attributes=attributes))

    assert answer.status_code == 200
    assert running.dispatched() == []


@pytest.mark.parametrize("path", ["/health", "/healthz"])
async def test_health_needs_no_livekit(running: Running, path: str) -> None:
    running.livekit.hang.add("ListRooms")

    answer = await running.client.get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_asks_the_database_and_livekit(running: Running) -> None:
    answer = await running.client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": {"ok": True}, "livekit": {"ok": True}}


async def test_ready_tells_of_the_persona_api_and_redis(running: Running) -> None:
    answer = await running.client.get("/readyz")

    assert answer.json()["personas"] == {"breaker": "closed", "redis": "off"}


async def test_unready_says_what_to_do(impatient: Running) -> None:
    impatient.livekit.hang.add("ListRooms")

    answer = await impatient.client.get("/readyz")

    assert answer.status_code == 503
    livekit = answer.json()["checks"]["livekit"]
    assert livekit["ok"] is False
    assert "LIVEKIT_URL" in livekit["fix"]


async def test_ready_lists_what_the_checkup_warned_of_with_numbers_masked(
    running: Running,
) -> None:
    trunks = ListSIPInboundTrunkResponse(
        items=[SIPInboundTrunkInfo(sip_trunk_id="ST_1", numbers=[DID])]
    )
    running.livekit.answers["ListSIPInboundTrunk"] = (200, trunks.SerializeToString())
    await running.services.checkups.look_once()

    answer = await running.client.get("/readyz")

    warnings = {warning["check"]: warning for warning in answer.json()["warnings"]}
    assert answer.status_code == 200
    assert set(warnings) == {"dispatch rules", "orphan numbers"}
    assert "house persona" in warnings["orphan numbers"]["said"]
    assert DID[1:] not in answer.text


async def test_a_key_that_livekit_signs_with_and_we_do_not_know_becomes_a_warning(
    running: Running,
) -> None:
    content = ringing()
    foreign = sign(content, time.time(), "other-key", SECRET)
    await running.deliver(content, Authorization=foreign)
    await running.services.checkups.look_once()

    answer = await running.client.get("/readyz")

    [warning] = [one for one in answer.json()["warnings"] if one["check"] == "webhook key"]
    assert warning["level"] == "error"
    assert "LIVEKIT_WEBHOOK_KEYS" in warning["fix"]


async def test_with_every_place_taken_deliveries_wait_and_all_else_but_health_is_refused(
    tmp_path: Path,
) -> None:
    async with started(tmp_path, max_deliveries=2) as running:
        gate = running.services.gate
        assert (gate.enter(), gate.enter()) == (True, True)
        waiting = [asyncio.create_task(running.deliver(ringing(f"call-{n}"))) for n in range(3)]

        paths = ("/metrics", "/version", "/nothing", "/health", "/healthz", "/readyz")
        answers = {path: await running.client.get(path) for path in paths}
        dispatched_meanwhile = running.dispatched()
        gate.leave(0.01)
        gate.leave(0.01)
        delivered = await asyncio.gather(*waiting)

        assert {path for path, answer in answers.items() if answer.status_code == 503} == {
            "/metrics",
            "/version",
            "/nothing",
        }
        assert answers["/metrics"].headers["content-type"] == "application/problem+json"
        assert answers["/metrics"].headers["retry-after"] == "5"
        assert dispatched_meanwhile == []
        assert [answer.status_code for answer in delivered] == [200] * 3
        assert (await running.client.get("/metrics")).status_code == 200


async def test_a_delivery_that_would_wait_too_long_is_put_off(tmp_path: Path) -> None:
    async with started(tmp_path, max_deliveries=1) as running:
        gate = running.services.gate
        for _ in range(200):
            gate.enter()
            gate.leave(30.0)
        gate.enter()

        answer = await running.deliver(ringing())
        gate.leave(30.0)
        page = (await running.client.get("/metrics")).text

        assert answer.status_code == 503
        assert 2 <= int(answer.headers["retry-after"]) <= 5
        assert 'persona_router_deliveries_total{verdict="put_off"} 1.0' in page
        assert "persona_router_deliveries_in_flight 0.0" in page
        assert running.dispatched() == []


async def test_a_body_that_drips_is_503_in_time_and_the_connection_is_closed(
    tmp_path: Path,
) -> None:
    async with started(tmp_path, body_s=0.05) as running:

        async def drip() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        answer = await running.client.post(PATH, content=drip())

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["connection"] == "close"
        assert (await running.deliver(ringing())).status_code == 200


async def test_metrics_count_deliveries_without_a_number_in_any_label(running: Running) -> None:
    await running.deliver(ringing())
    await running.deliver(ringing())
    await running.deliver(b"[]")
    await running.deliver(body("moon_risen", room="r", room_sid="RM_9"))
    await running.client.post(PATH, content=b"")

    page = (await running.client.get("/metrics")).text

    assert 'persona_router_deliveries_total{verdict="dispatched"} 1.0' in page
    assert 'persona_router_deliveries_total{verdict="duplicate"} 1.0' in page
    assert 'persona_router_deliveries_refused_total{reason="not_an_object"} 1.0' in page
    assert 'persona_router_deliveries_refused_total{reason="no_token"} 1.0' in page
    assert 'persona_router_events_total{event="other"} 1.0' in page
    assert 'persona_router_lookups_total{source="house"} 1.0' in page
    assert 'persona_router_persona_breaker{state="closed"} 1.0' in page
    assert 'persona_router_persona_breaker{state="open"} 0.0' in page
    assert 'persona_router_stage_seconds_count{stage="dispatch"} 1.0' in page
    assert DID[1:] not in page


async def test_version_names_the_build(running: Running) -> None:
    answer = (await running.client.get("/version")).json()

    assert set(answer) == {"version", "python"}


async def test_every_route_answers(running: Running) -> None:
    for route in ROUTES:
        answer = await running.client.get(route.path.replace("{name}", "style.css"))

        guarded = route.path.startswith(("/api/", "/events"))
        expected = {401, 405} if guarded else {200, 303, 405}
        assert answer.status_code in expected, route.path
