"""The fault proxy itself: each fault does what it says, and what is no fault goes by unchanged."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from tests.e2e.evidence import until
from tests.faults.proxy import (
    Cut,
    Delay,
    Drop,
    FaultProxy,
    Garble,
    HalfOpen,
    Hang,
    LoseAnswer,
    Unavailable,
    garbled,
)

PATIENCE_S = 0.3


class Target:
    """Keeps what it was asked, and answers with the body that came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        if request.path == "/socket":
            return await self._talk(request)
        return web.Response(body=body)

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket


@pytest_asyncio.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", target.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    target.port = runner.addresses[0][1]
    yield target
    await runner.cleanup()


@pytest_asyncio.fixture
async def proxy(target: Target) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(target.port) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def http(proxy: FaultProxy) -> AsyncIterator[httpx.AsyncClient]:
    base = f"http://127.0.0.1:{proxy.port}"
    async with httpx.AsyncClient(base_url=base, timeout=5.0, trust_env=False) as http:
        yield http


def impatient(http: httpx.AsyncClient, path: str = "/a", body: bytes = b"x") -> Any:
    return http.post(path, content=body, timeout=PATIENCE_S)


async def test_without_a_fault_all_goes_by(proxy: FaultProxy, http: httpx.AsyncClient) -> None:
    bodies = [b"", b"x", b"y" * 3_000_000]

    answers = [(await http.post("/a", content=body)).content for body in bodies]

    assert answers == bodies
    assert proxy.asked == {"/a": 3}


async def test_a_body_of_unknown_length_goes_by(http: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"in "
        yield b"parts"

    assert (await http.post("/a", content=body())).content == b"in parts"


async def test_a_connection_that_is_upgraded_goes_by(proxy: FaultProxy) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{proxy.port}/socket") as socket,
    ):
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"


async def test_delay_makes_both_directions_late(proxy: FaultProxy, http: httpx.AsyncClient) -> None:
    proxy.fault = Delay(0.1)
    started = time.monotonic()

    answer = await http.post("/a", content=b"x")

    assert answer.content == b"x"
    assert time.monotonic() - started >= 0.2


async def test_cut_resets_what_is_open_and_what_comes(
    proxy: FaultProxy, http: httpx.AsyncClient
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await http.get("/a")  # by now the other is accepted too
    proxy.fault = Cut()

    with pytest.raises(ConnectionResetError):
        await reader.read()
    with pytest.raises(httpx.TransportError):
        await impatient(http)
    writer.close()


async def test_drop_swallows_what_is_said(
    proxy: FaultProxy, http: httpx.AsyncClient, target: Target
) -> None:
    await http.get("/a")
    proxy.fault = Drop()

    with pytest.raises(httpx.ReadTimeout):
        await impatient(http)
    assert target.bodies == [b""]


async def test_half_open_accepts_and_never_answers(
    proxy: FaultProxy, http: httpx.AsyncClient, target: Target
) -> None:
    proxy.fault = HalfOpen()

    with pytest.raises(httpx.ReadTimeout):
        await impatient(http)
    assert target.bodies == []


async def test_garble_changes_bytes(proxy: FaultProxy, http: httpx.AsyncClient) -> None:
    proxy.fault = Garble()

    with pytest.raises(httpx.TransportError):
        await impatient(http)
    assert garbled(b"\x00" * 4, 2) == b"\xff\x00\xff\x00"


async def test_a_request_is_answered_503_and_the_next_to_another_path_goes_by(
    proxy: FaultProxy, http: httpx.AsyncClient, target: Target
) -> None:
    proxy.requests = {"/Create": Unavailable()}

    refused = await http.post("/twirp/Create", content=b"x")
    other = await http.post("/twirp/List", content=b"y")

    assert (refused.status_code, refused.json()) == (503, {"code": "unavailable"})
    assert other.content == b"y"
    assert target.bodies == [b"y"]


@pytest.mark.parametrize(("does", "done"), [(False, []), (True, [b"x"])])
async def test_a_request_that_hangs_is_done_late_or_never(
    proxy: FaultProxy, http: httpx.AsyncClient, target: Target, does: bool, done: list[bytes]
) -> None:
    proxy.requests = {"/Create": Hang(2 * PATIENCE_S, does=does)}

    with pytest.raises(httpx.ReadTimeout):
        await impatient(http, "/Create")
    proxy.requests = {}
    await http.get("/a", headers={"Connection": "close"})
    await until(lambda: not proxy._links, timeout_s=5, what="end of the connections")

    assert [body for body in target.bodies if body] == done


async def test_an_answer_is_lost_after_the_request_was_done(
    proxy: FaultProxy, http: httpx.AsyncClient, target: Target
) -> None:
    proxy.requests = {"/Create": LoseAnswer()}

    with pytest.raises(httpx.TransportError):
        await http.post("/Create", content=b"x")
    again = await http.post("/other", content=b"y")

    assert target.bodies == [b"x", b"y"]
    assert again.content == b"y"


async def test_where_nobody_listens_the_connection_is_reset() -> None:
    async with FaultProxy(9) as proxy:  # the discard port: nobody has it
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(trust_env=False) as http:
                await http.get(f"http://127.0.0.1:{proxy.port}/a", timeout=PATIENCE_S)
