"""Stands in for LiveKit's API and for the persona API, so that the router is measured and not they.

A process of its own. Every CreateDispatch is taken at once, and every number has a persona of
about a kilobyte.
"""

import asyncio
import json
import sys
from typing import cast

import uvloop
from livekit.protocol.agent_dispatch import AgentDispatch


def _answer(kind: bytes, body: bytes) -> bytes:
    length = str(len(body)).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %b\r\n\r\n%b" % (
        kind,
        length,
        body,
    )


NOTHING = _answer(b"application/protobuf", b"")
DISPATCHED = _answer(b"application/protobuf", AgentDispatch(id="AD_bench").SerializeToString())


def persona(digits: str) -> str:
    """Return the document of the persona that answers the number of these digits."""
    document = {
        "mobile": digits,
        "persona_name": f"Sam {digits}",
        "personality": f"You answer the phone of office {digits}. " + "You are brief. " * 40,
        "welcome_message": f"Hello, this is office {digits}.",
        "closing_message": "Goodbye.",
        "language": "en-US",
        "tags": [f"tag {index}" for index in range(12)],
    }
    return json.dumps(document)


class Edge(asyncio.Protocol):
    """One connection of either API."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if not separator or len(rest) < length:
                return
            self._received = rest[length:]
            self._transport.write(_answer_to(head.partition(b" HTTP/")[0]))


def _answer_to(request: bytes) -> bytes:
    if request.startswith(b"POST"):
        return DISPATCHED if request.endswith(b"/CreateDispatch") else NOTHING
    digits = request.rpartition(b"/")[2].decode()
    return _answer(b"application/json", persona(digits).encode())


async def main(port: int) -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Edge, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
