"""A SIP service in front of a livekit-server that has none: it answers TransferSIPParticipant."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from livekit.protocol.sip import (
    STS_TRANSFER_FAILED,
    STS_TRANSFER_SUCCESSFUL,
    TransferSIPParticipantRequest,
    TransferSIPParticipantResponse,
)

_METHOD = b"POST /twirp/livekit.SIP/TransferSIPParticipant "
_CHUNK = 65_536


@dataclass
class FakeSipEdge:
    """Passes every byte on to LiveKit but requests to transfer, which it takes and answers."""

    behind: str  # ws://127.0.0.1:port
    url: str = ""
    succeeds: bool = True
    transfers: list[TransferSIPParticipantRequest] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = urlsplit(self.behind).port
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        back = asyncio.create_task(_pump(theirs, writer))
        try:
            while chunk := await reader.read(_CHUNK):
                if chunk.startswith(_METHOD):  # the start of a request on its own connection
                    await self._take(chunk, reader, writer)
                else:
                    ours.write(chunk)
                    await ours.drain()
        except ConnectionError:
            pass  # one side has gone: so does the other
        finally:
            back.cancel()
            for one in (ours, writer):
                one.close()

    async def _take(
        self, chunk: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while b"\r\n\r\n" not in chunk:
            chunk += await reader.read(_CHUNK)
        head, _, body = chunk.partition(b"\r\n\r\n")
        [length] = [
            int(line.partition(b":")[2])
            for line in head.lower().splitlines()
            if line.startswith(b"content-length:")
        ]
        body += await reader.readexactly(length - len(body))
        self.transfers.append(TransferSIPParticipantRequest.FromString(body))
        status = STS_TRANSFER_SUCCESSFUL if self.succeeds else STS_TRANSFER_FAILED
        answer = TransferSIPParticipantResponse(status=status).SerializeToString()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
        )
        await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.close()


@contextmanager
def open_sip_edge(behind: str) -> Iterator[FakeSipEdge]:
    """Serve one on a free port of loopback, in a thread: waiting for a router blocks the loop."""
    edge = FakeSipEdge(behind)
    opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(edge.serve, "127.0.0.1", 0)
        edge.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        opened.set_result((asyncio.get_running_loop(), over))
        await over.wait()
        server.close()  # what is still open is cancelled with the loop

    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, serve())
        loop, over = opened.result()
        try:
            yield edge
        finally:
            loop.call_soon_threadsafe(over.set)
