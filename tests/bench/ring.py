"""The router's share of ring time, beside what LiveKit itself takes for CreateDispatch.

From the first byte of a caller's delivery to the first byte of the CreateDispatch request on the
wire, the persona cached; LiveKit's time is that of the same requests, on a real server.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from livekit import api

from router.demo import binary
from router.demo.livekit_server import LiveKitServer
from router.demo.settings import DemoSettings
from tests.bench import load, processes
from tests.bench.report import Figure, Say, percentile
from tests.bench.sender import Line, send
from tests.bench.tap import tapped

CALLS = 400
NUMBERS = 20
PAUSE_S = 0.02  # between calls: each is one alone


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Place calls, one after the other."""
    program = binary.ensure(DemoSettings.load(), say)
    async with (
        LiveKitServer(program, log_path=folder / "livekit-server.log") as server,
        tapped(urlsplit(server.url).port or 0) as tap,
        processes.edge(folder) as edge,
        processes.router(
            folder,
            livekit_port=tap.port,
            edge_port=edge,
            api_key=server.api_key,
            api_secret=server.api_secret,
        ) as router,
        api.LiveKitAPI(server.url, server.api_key, server.api_secret, failover=False) as livekit,
        Line(router.port) as line,
    ):
        await send(router.port, [load.call(load.number(n)) for n in range(NUMBERS)], at_once=1)
        ours, theirs = [], []
        for index in range(CALLS):
            room_sid = f"RM_{secrets.token_hex(6)}"
            room = load.room_of(room_sid)
            await livekit.room.create_room(api.CreateRoomRequest(name=room))
            caller_joins = load.call(load.number(index % NUMBERS), room_sid=room_sid)[load.JOIN]
            await asyncio.sleep(PAUSE_S)
            began_at = time.monotonic()
            await line.deliver(caller_joins)
            ours.append((tap.asked_at - began_at) * 1000)
            theirs.append((tap.answered_at - tap.asked_at) * 1000)
            await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    for percent in (50, 90, 99, 100):
        say(f"p{percent}: {percentile(ours, percent):.2f} ms, {percentile(theirs, percent):.2f} ms")
    return [_figure(percent, ours, theirs) for percent in (50, 99)]


def _figure(percent: int, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    our, their = percentile(ours, percent), percentile(theirs, percent)
    return Figure(
        f"router's share of ring time, p{percent} of {CALLS} calls, cached persona: first byte of "
        "the delivery to CreateDispatch on the wire, beside LiveKit's own CreateDispatch",
        f"{our:.2f} ms beside {their:.2f} ms",
        "below it",
        met=our < their,
    )
