"""Stands in for LiveKit's API: takes every CreateDispatch at once, and says when it came.

A fake, so that the router is measured and not LiveKit. It stands at the edge of the process.
"""

import asyncio
import contextlib
import sys
import time

from livekit.protocol.agent_dispatch import AgentDispatch

ANSWER = AgentDispatch(id="AD_bench").SerializeToString()
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\nContent-Length: "
    + str(len(ANSWER)).encode()
    + b"\r\n\r\n"
)
arrivals: list[float] = []


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            arrivals.append(time.time())
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if length:
                await reader.readexactly(int(length))
            writer.write(HEAD + ANSWER)
    writer.close()


async def main(port: int) -> None:
    """Serve until ended."""
    server = await asyncio.start_server(serve_one, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
