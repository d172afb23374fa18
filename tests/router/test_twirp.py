"""Requests of LiveKit's API on the wire: what is sent, and whose answer is whose."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import jwt
import pytest

from router import twirp
from router.errors import TwirpError, TwirpFailed, TwirpLost, TwirpUnreached
from router.twirp import Twirp
from tests import servers

SECRET = "0123456789abcdef0123456789abcdef"  # made up
GRANTS = {"roomAdmin": True, "room": "call-1"}

Script = Callable[["FakeServer", bytes], Awaitable[None]]


def whole(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


class FakeServer:
    """One connection of a server that does what a test's script says with each request."""

    def __init__(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.script = script
        self.reader = reader
        self.writer = writer

    async def serve(self) -> None:
        try:
            while True:
                head = await self.reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
                await self.script(self, head + await self.reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writer.close()

    def say(self, text: bytes) -> None:
        self.writer.write(text)

    @staticmethod
    def asked(request: bytes) -> bytes:
        return request.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def serving(script: Script, *, timeout_s: float = 5.0) -> AsyncIterator["Bed"]:
    connections: list[FakeServer] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(FakeServer(script, reader, writer))
        await connections[-1].serve()

    async with servers.serving(connected) as port:
        client = Twirp(f"ws://127.0.0.1:{port}", key="key", secret=SECRET, timeout_s=timeout_s)
        try:
            yield Bed(client, connections)
        finally:
            await client.aclose()


class Bed:
    def __init__(self, client: Twirp, connections: list[FakeServer]) -> None:
        self.client = client
        self.connections = connections

    async def ask(self, message: bytes = b"question") -> bytes:
        return await self.client.call("RoomService/Ask", message, GRANTS)


async def echo(connection: FakeServer, request: bytes) -> None:
    connection.say(whole(b"re:" + connection.asked(request)))


async def until(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not come to that")


async def test_a_request_is_a_signed_post_of_the_message() -> None:
    requests: list[bytes] = []

    async def keep(connection: FakeServer, request: bytes) -> None:
        requests.append(request)
        await echo(connection, request)

    async with serving(keep) as bed:
        assert await bed.ask(b"\x00\r\n\r\n\xff") == b"re:\x00\r\n\r\n\xff"

    head, _, body = requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /twirp/livekit.RoomService/Ask HTTP/1.1"
    assert body == b"\x00\r\n\r\n\xff"
    assert fields["Content-Type"] == "application/protobuf"
    token = fields["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["iss"], claims["video"]) == ("key", GRANTS)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("ws://a:7880", "a:7880", 7880, "/twirp/livekit.S/M"),
        ("http://a/", "a", 80, "/twirp/livekit.S/M"),
        ("wss://a.example", "a.example", 443, "/twirp/livekit.S/M"),
        ("https://a:8443/b%20c/", "a:8443", 8443, "/b%20c/twirp/livekit.S/M"),
        ("ws://[::1]:7880", "[::1]:7880", 7880, "/twirp/livekit.S/M"),
    ],
)
def test_an_address_is_read_as_livekits_own_client_reads_it(
    url: str, host: str, port: int, path: str
) -> None:
    client = Twirp(url, key="key", secret=SECRET, timeout_s=1)

    head = client._head("S/M") % (b"token", 3)

    assert head.startswith(f"POST {path} HTTP/1.1\r\nHost: {host}\r\n".encode())
    assert (client._port, client._tls) == (port, url.startswith(("wss", "https")))


async def test_one_connection_serves_one_request_after_the_other() -> None:
    async with serving(echo) as bed:
        answers = [await bed.ask(b"%d" % number) for number in range(3)]

    assert answers == [b"re:0", b"re:1", b"re:2"]
    assert len(bed.connections) == 1


async def test_everyone_gets_their_own_answer_and_nobody_loses_it() -> None:
    async with serving(echo) as bed:

        async def asker(name: int) -> list[bytes]:
            return [await bed.ask(b"%d-%d" % (name, turn)) for turn in range(50)]

        answers = await asyncio.gather(*(asker(name) for name in range(8)))

    assert answers == [[b"re:%d-%d" % (name, turn) for turn in range(50)] for name in range(8)]
    assert len(bed.connections) <= 8


async def test_an_answer_in_pieces_is_put_together() -> None:
    async def drip(connection: FakeServer, _request: bytes) -> None:
        for piece in whole(b"abc"):
            connection.say(bytes([piece]))
            await connection.writer.drain()
            await asyncio.sleep(0)

    async with serving(drip) as bed:
        assert await bed.ask() == b"abc"


async def test_an_answer_in_chunks_is_put_together() -> None:
    async def chunks(connection: FakeServer, _request: bytes) -> None:
        connection.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await asyncio.sleep(0)
        connection.say(b"1\r\nc\r\n0\r\n\r\n")

    async with serving(chunks) as bed:
        assert [await bed.ask(), await bed.ask()] == [b"abc", b"abc"]


async def test_an_interim_answer_is_none() -> None:
    async def interim(connection: FakeServer, request: bytes) -> None:
        connection.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await echo(connection, request)

    async with serving(interim) as bed:
        assert await bed.ask() == b"re:question"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (whole(b'{"code":"not_found","msg":"no"}', "404 Not Found"), "not_found"),
        (whole(b"<html>", "502 Bad Gateway"), "status_502"),
        (whole(b"[]", "503 Service Unavailable"), "status_503"),
        (whole(b"", "307 Temporary Redirect", "Location: /elsewhere"), "status_307"),
    ],
)
async def test_another_status_than_200_is_told_with_its_code(answer: bytes, reason: str) -> None:
    async def refuse(connection: FakeServer, _request: bytes) -> None:
        connection.say(answer)

    async with serving(refuse) as bed:
        with pytest.raises(TwirpFailed) as failed:
            await bed.ask()

    assert failed.value.reason == reason
    assert str(failed.value.status).encode() in answer.split(b"\r\n")[0]


async def test_a_connection_that_the_server_is_done_with_is_not_used_again() -> None:
    async def last(connection: FakeServer, _request: bytes) -> None:
        connection.say(whole(b"bye", "200 OK", "Connection: close"))

    async with serving(last) as bed:
        assert [await bed.ask(), await bed.ask()] == [b"bye", b"bye"]

    assert len(bed.connections) == 2


async def test_a_connection_that_was_closed_while_idle_costs_nothing() -> None:
    async with serving(echo) as bed:
        await bed.ask()
        bed.connections[0].writer.close()
        await until(lambda: not bed.client._lines)

        assert await bed.ask() == b"re:question"


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_connection_that_speaks_unasked_is_not_used_again(at_once: bool) -> None:
    heard = asyncio.Event()

    async def twice(connection: FakeServer, request: bytes) -> None:
        if at_once:
            connection.say(whole(b"re:1") + whole(b"and another thing"))
            return
        await echo(connection, request)
        await heard.wait()
        connection.say(whole(b"and another thing"))

    async with serving(twice) as bed:
        assert await bed.ask(b"1") == b"re:1"
        heard.set()
        await until(lambda: not bed.client._lines)
        assert await bed.ask(b"1") == b"re:1"


async def test_an_answer_that_does_not_come_is_lost_and_comes_to_nobody_else() -> None:
    release = asyncio.Event()

    async def late(connection: FakeServer, request: bytes) -> None:
        if connection.asked(request) == b"late":
            await release.wait()
        await echo(connection, request)

    async with serving(late, timeout_s=0.2) as bed:
        with pytest.raises(TwirpLost, match="timeout"):
            await bed.ask(b"late")
        release.set()

        assert await bed.ask(b"next") == b"re:next"


async def test_who_is_cancelled_leaves_no_answer_for_the_next() -> None:
    asked = asyncio.Event()

    async def late(connection: FakeServer, request: bytes) -> None:
        if connection.asked(request) == b"late":
            asked.set()
            await connection.reader.read(1)  # until the connection is gone
        await echo(connection, request)

    async with serving(late) as bed:
        asking = asyncio.create_task(bed.ask(b"late"))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert await bed.ask(b"next") == b"re:next"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "connection_lost"),
        (b"SSH-2.0\r\n", "unreadable_answer"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_lost(answer: bytes, reason: str) -> None:
    async def break_off(connection: FakeServer, _request: bytes) -> None:
        connection.say(answer)
        connection.writer.close()

    async with serving(break_off) as bed:
        with pytest.raises(TwirpLost, match=reason):
            await bed.ask()

    assert len(bed.connections) == 1  # nothing is sent twice


async def test_an_answer_without_end_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twirp, "MAX_ANSWER_BYTES", 100)

    async def flood(connection: FakeServer, _request: bytes) -> None:
        connection.say(whole(b"x" * 200))

    async with serving(flood) as bed:
        with pytest.raises(TwirpLost, match="answer_too_large"):
            await bed.ask()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_without_a_connection_nothing_was_sent(scheme: str) -> None:
    async with serving(echo) as bed:
        port = bed.client._port
        if scheme == "wss":  # nobody there speaks TLS
            client = Twirp(f"wss://127.0.0.1:{port}", key="key", secret=SECRET, timeout_s=0.5)
            with pytest.raises(TwirpUnreached):
                await client.call("S/M", b"", GRANTS)
            return

    client = Twirp(f"ws://127.0.0.1:{port}", key="key", secret=SECRET, timeout_s=0.5)
    with pytest.raises(TwirpUnreached):
        await client.call("S/M", b"", GRANTS)


async def test_what_is_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twirp, "IDLE_S", 0.05)

    async with serving(echo) as bed:
        await asyncio.gather(*(bed.ask() for _ in range(3)))
        began = time.monotonic()
        await until(lambda: not bed.client._lines)

        assert time.monotonic() - began >= 0.04
        assert await bed.ask() == b"re:question"


async def test_closing_tells_who_still_waits() -> None:
    asked = asyncio.Event()

    async def silent(_connection: FakeServer, _request: bytes) -> None:
        asked.set()

    async with serving(silent) as bed:
        asking = asyncio.create_task(bed.ask())
        await asked.wait()
        await bed.client.aclose()
        with pytest.raises(TwirpError):
            await asking
