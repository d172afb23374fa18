"""Real sockets against the real server: who dawdles is cut, who delivers is served."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from livekit.protocol.agent_dispatch import AgentDispatch

from router.app import build_app
from router.cli.serve import options
from router.demo.deliveries import body, caller_attributes
from router.events import MAX_BODY_BYTES, sign
from router.http_guard import GuardedProtocol, Limits, guarded
from router.metrics import Metrics
from router.settings import RouterSettings
from router.webhook import deliver
from tests.fakes import FakeLiveKit
from tests.samples import KEY, SECRET

DEADLINE_S = 20.0
SLOW_HEAD = b"POST /livekit-webhook HTTP/1.1\r\nHost: router\r\nX-Slow: "


class Connection:
    """One TCP connection to the router."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str]]:
        """Read one answer, its body too."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            await self._reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields

    async def interim(self) -> bytes:
        """Read what comes before an answer."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def ended(self) -> bytes:
        """Wait until the router ends the connection; return what came before."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    async def drip(self, drop: bytes) -> int:
        """Send *drop* again and again until the router ends the connection; return how often."""
        ended, drops = asyncio.create_task(self.ended()), 0
        with suppress(ConnectionError):
            while not ended.done():
                await self.send(drop)
                await asyncio.wait({ended}, timeout=0.01)
                drops += 1
        await ended
        return drops

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Uvicorn(uvicorn.Server):
    """The real server; it says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@dataclass
class Server:
    """A running router, its clients, and why connections were cut."""

    uvicorn: Uvicorn
    metrics: Metrics
    clients: list[Connection] = field(default_factory=list)

    async def connect(self) -> Connection:
        port = self.uvicorn.servers[0].sockets[0].getsockname()[1]
        self.clients.append(Connection(*await asyncio.open_connection("127.0.0.1", port)))
        return self.clients[-1]

    def cut(self) -> dict[str, int]:
        return {
            sample.labels["reason"]: int(sample.value)
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "persona_router_connections_cut_total"
        }


@asynccontextmanager
async def serving(
    folder: Path, *, limits: Limits | None = None, **app: Any
) -> AsyncIterator[Server]:
    """Serve as `persona-router serve` does, with *limits* in place of its own where given."""
    async with FakeLiveKit() as livekit:
        dispatched = AgentDispatch(id="AD_1").SerializeToString()
        livekit.answers["CreateDispatch"] = (200, dispatched)
        settings = RouterSettings.load(
            livekit_url=livekit.url,
            livekit_api_key=KEY,
            livekit_api_secret=SECRET.decode(),
            persona_api_base="off",
            default_region="US",
            state_dir=folder,
            port=0,
        )
        metrics = Metrics()
        served_as = options(settings, metrics)
        if limits is not None:
            cut = metrics.connections_cut
            served_as["http"] = guarded(
                limits, lambda reason: cut[reason].inc(), {b"/livekit-webhook": deliver}
            )
        config = uvicorn.Config(build_app(settings, metrics=metrics, **app), **served_as)
        server = Server(Uvicorn(config), metrics)
        running = asyncio.create_task(server.uvicorn._serve())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await server.uvicorn.listens.wait()
            yield server
        finally:
            server.uvicorn.should_exit = True
            async with asyncio.timeout(DEADLINE_S):
                await running
            for client in server.clients:
                await client.close()


def delivery(room: str, *, content: bytes | None = None, length: int | None = None) -> bytes:
    if content is None:
        attributes = caller_attributes(number="+13125550100", call_id=f"SCL_{room}")
        content = body(room=room, room_sid=f"RM_{room}", attributes=attributes)
    token = sign(content, time.time(), KEY, SECRET)
    size = len(content) if length is None else length
    head = (
        "POST /livekit-webhook HTTP/1.1\r\nHost: router\r\n"
        f"Authorization: {token}\r\nContent-Length: {size}\r\n\r\n"
    )
    return head.encode() + content


async def test_a_connection_is_kept_while_requests_come_and_closed_when_none_does(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server:
        server.uvicorn.config.timeout_keep_alive = 1
        kept = await server.connect()
        began = time.monotonic()
        for n in range(6):
            await kept.send(delivery(f"call-{n}"))
            assert (await kept.answer())[0] == 200
            await asyncio.sleep(0.3)
        await kept.send(GET_HEALTH)
        assert (await kept.answer())[0] == 200
        answered = time.monotonic()

        assert await kept.ended() == b""
        assert answered - began > 1.5  # longer than it may be idle
        assert time.monotonic() - answered > 0.9


GET_HEALTH = b"GET /health HTTP/1.1\r\nHost: router\r\n\r\n"


async def test_200_slow_connections_beside_deliveries_cost_none_of_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        slow = [await server.connect() for _ in range(200)]
        for connection in slow:
            await connection.send(SLOW_HEAD)
        kept = await server.connect()
        statuses = []
        for n in range(50):
            for connection in slow[n % 4 :: 4]:
                await connection.send(b"a")
            fresh = await server.connect()
            await fresh.send(delivery(f"fresh-{n}"))
            await kept.send(delivery(f"kept-{n}"))
            statuses += [(await fresh.answer())[0], (await kept.answer())[0]]

        assert statuses == [200] * 100


async def test_with_more_newcomers_than_may_be_the_oldest_go_and_deliveries_are_served(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, limits=Limits(newcomers=20)) as server:
        kept = await server.connect()
        await kept.send(GET_HEALTH)
        assert (await kept.answer())[0] == 200
        slow = []
        for n in range(60):
            slow.append(await server.connect())
            await slow[-1].send(SLOW_HEAD)
            await kept.send(delivery(f"call-{n}"))
            assert (await kept.answer())[0] == 200
        fresh = await server.connect()
        await fresh.send(delivery("fresh"))

        assert (await fresh.answer())[0] == 200
        assert server.cut() == {"newcomers": 41}
        assert await slow[0].ended() == b""


async def test_with_more_connections_than_may_be_the_one_that_was_silent_longest_goes(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, limits=Limits(connections=3)) as server:
        first, second, third = [await server.connect() for _ in range(3)]
        for connection in (first, second, third, first):
            await connection.send(GET_HEALTH)
            assert (await connection.answer())[0] == 200
        fourth = await server.connect()
        await fourth.send(GET_HEALTH)
        assert (await fourth.answer())[0] == 200
        assert await second.ended() == b""
        await first.send(GET_HEALTH)

        assert (await first.answer())[0] == 200
        assert server.cut() == {"connections": 1}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(SLOW_HEAD, id="half-a-head"),
        pytest.param(b"\r\n", id="blank-lines"),
        pytest.param(GET_HEALTH[:-2], id="all-but-the-end"),
    ],
)
async def test_a_head_that_is_not_whole_in_time_ends_the_connection(
    tmp_path: Path, said: bytes
) -> None:
    async with serving(tmp_path, limits=Limits(head_s=0.15)) as server:
        connection = await server.connect()
        began = time.monotonic()
        await connection.send(said)

        assert await connection.ended() == b""
        assert time.monotonic() - began < 2.0
        assert server.cut() == {"head_slow": 1}


@pytest.mark.parametrize(("first", "drop"), [(SLOW_HEAD, b"a"), (b"", b"\r\n")])
async def test_dripping_does_not_lengthen_the_time_for_a_head(
    tmp_path: Path, first: bytes, drop: bytes
) -> None:
    async with serving(tmp_path, limits=Limits(head_s=0.15)) as server:
        connection = await server.connect()
        began = time.monotonic()
        await connection.send(first)
        drops = await connection.drip(drop)

        assert drops > 3
        assert 0.1 < time.monotonic() - began < 2.0
        assert server.cut() == {"head_slow": 1}


async def test_the_time_for_a_head_begins_anew_with_each_request_and_not_while_idle(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, limits=Limits(head_s=0.15)) as server:
        idle, second_slow = await server.connect(), await server.connect()
        for connection in (idle, second_slow):
            await connection.send(GET_HEALTH)
            assert (await connection.answer())[0] == 200
        await second_slow.send(GET_HEALTH + SLOW_HEAD)  # a whole one, and half of the next
        assert (await second_slow.answer())[0] == 200

        assert await second_slow.ended() == b""  # twice as long is idle meanwhile
        await idle.send(GET_HEALTH)
        assert (await idle.answer())[0] == 200
        assert server.cut() == {"head_slow": 1}


async def test_a_head_without_end_is_cut_by_its_size(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(head_bytes=8192)) as server:
        connection = await server.connect()
        await connection.send(SLOW_HEAD)
        await connection.drip(b"a" * 1024)

        assert server.cut() == {"head_large": 1}


async def test_a_body_that_drips_is_answered_503_in_time_and_the_connection_ends(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, body_s=0.2) as server:
        connection = await server.connect()
        began = time.monotonic()
        await connection.send(delivery("drip", content=b"{", length=100))
        answer = asyncio.create_task(connection.answer())
        while not answer.done():
            await connection.send(b" ")
            await asyncio.wait({answer}, timeout=0.02)

        status, fields = await answer
        assert (status, fields["retry-after"]) == (503, "1")
        assert 0.2 <= time.monotonic() - began < 2.0
        assert await connection.ended() == b""


async def test_a_body_that_never_ends_after_its_answer_ends_the_connection(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, limits=Limits(request_s=0.2)) as server:
        connection = await server.connect()
        await connection.send(delivery("big", content=b" " * (MAX_BODY_BYTES + 1), length=10**6))

        assert (await connection.answer())[0] == 413
        assert await connection.ended() == b""
        assert server.cut() == {"request_slow": 1}


async def test_a_request_in_pieces_is_served_and_no_timer_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(head_s=0.4, request_s=0.4)) as server:
        connection, other = await server.connect(), await server.connect()
        for n in range(3):
            for piece in _pieces(delivery(f"call-{n}"), 5):
                await connection.send(piece)
                await other.send(GET_HEALTH)  # a round trip, so that the pieces stay apart
                await other.answer()
            assert (await connection.answer())[0] == 200
        guards = [
            one
            for one in server.uvicorn.server_state.connections
            if isinstance(one, GuardedProtocol)
        ]

        assert [guard._timer for guard in guards] == [None, None]


def _pieces(content: bytes, count: int) -> list[bytes]:
    size = -(-len(content) // count)
    return [content[at : at + size] for at in range(0, len(content), size)]


async def test_the_server_stops_at_once_beside_connections_that_dawdle(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        idle, slow = await server.connect(), await server.connect()
        await idle.send(GET_HEALTH)
        assert (await idle.answer())[0] == 200
        await slow.send(SLOW_HEAD)
        began = time.monotonic()

    assert time.monotonic() - began < 2.0
    assert (await idle.ended(), await slow.ended()) == (b"", b"")


async def test_deliveries_and_others_sent_together_are_answered_in_their_order(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server:
        connection = await server.connect()
        forged = delivery("b").replace(b"Authorization: ", b"Authorization: x")
        await connection.send(delivery("a") + GET_HEALTH + forged + delivery("c") + SLOW_HEAD)
        statuses = [(await connection.answer())[0] for _ in range(4)]
        await connection.send(b"\r\n\r\n")  # the end of the last head; it has no body

        assert statuses == [200, 200, 401, 200]
        assert (await connection.answer())[0] == 401


async def test_every_way_to_send_a_delivery_is_answered_alike(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        whole = delivery("a")
        head, _, content = delivery("b").partition(b"\r\n\r\n")
        chunked = head.replace(
            f"Content-Length: {len(content)}".encode(), b"Transfer-Encoding: chunked"
        )
        ways = {
            "whole": whole,
            "again": whole,
            "in chunks": chunked
            + f"\r\n\r\n{len(content):x}\r\n".encode()
            + content
            + b"\r\n0\r\n\r\n",
            "with a query": delivery("c").replace(b"/livekit-webhook ", b"/livekit-webhook?a=1 "),
            "compressed": delivery("d").replace(b"Host:", b"Content-Encoding: gzip\r\nHost:"),
            "as GET": delivery("e").replace(b"POST", b"GET"),
            "too large": delivery("f", content=b" " * (MAX_BODY_BYTES + 1)),
            "last": delivery("g").replace(b"Host:", b"Connection: close\r\nHost:"),
        }
        statuses = {}
        connection = await server.connect()
        for way, request in ways.items():
            await connection.send(request)
            statuses[way], fields = await connection.answer()
            assert fields["date"]
        assert statuses == dict.fromkeys(ways, 200) | {
            "compressed": 400,
            "as GET": 405,
            "too large": 413,
        }
        assert fields["connection"] == "close"
        assert await connection.ended() == b""
        old = await server.connect()
        await old.send(delivery("h").replace(b"HTTP/1.1", b"HTTP/1.0"))

        assert (await old.answer())[0] == 200
        assert await old.ended() == b""


async def test_one_that_waits_for_leave_to_send_its_body_gets_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        head, _, content = delivery("a").partition(b"\r\n\r\n")
        connection = await server.connect()
        await connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await connection.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(content)

        assert (await connection.answer())[0] == 200


async def test_a_defect_of_ours_has_a_delivery_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        state = server.uvicorn.lifespan.state
        state["services"] = replace(state["services"], inbound=cast("Any", None))
        connection = await server.connect()
        await connection.send(delivery("a"))
        status, fields = await connection.answer()

        assert (status, fields["retry-after"]) == (503, "1")
