"""What the watch over the rooms costs while many calls are answered, as a share of a core.

The server is the real one. The parties are in their rooms by signalling alone: LiveKit lists them
as it lists those with audio, and that is all that the watch sees. What the router takes with no
room at all is measured before, and is not the watch's.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from livekit import api

from router.demo import binary
from router.demo.livekit_server import LiveKitServer
from router.demo.settings import DemoSettings
from tests.bench import load, processes
from tests.bench.report import Figure, Say, median, spread
from tests.bench.sender import Line

ROOMS = 300
JOINING_AT_ONCE = 16
SETTLING_S = 15.0  # new rooms are looked at more often
PERIOD_S = 10.0
PERIODS = 5
AGAIN_S = (1, 2, 4, 8)
WANTED = 0.10


@dataclass(frozen=True, slots=True)
class _Party:
    identity: str
    kind: api.AccessToken.ParticipantKind
    attributes: dict[str, str]


def _parties(index: int) -> tuple[_Party, _Party]:
    agent = {"persona.attempt": "1", "persona.call": f"{index:032x}"}
    caller = {
        "sip.ruleID": "SDR_bench",
        "sip.trunkID": "ST_bench",
        "sip.callID": f"SCL_sweep{index}",
        "sip.callStatus": "active",
        "sip.trunkPhoneNumber": load.number(index),
        "sip.phoneNumber": load.caller(),
    }
    return (
        _Party(f"agent-{index}", "agent", agent),
        _Party(f"sip-{index}", "sip", caller),
    )


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Have calls going on, and see what the router takes."""
    program = binary.ensure(DemoSettings.load(), say)
    async with (
        LiveKitServer(program, log_path=folder / "livekit-server.log") as server,
        processes.edge(folder) as edge,
        processes.router(
            folder,
            livekit_port=urlsplit(server.url).port or 0,
            edge_port=edge,
            api_key=server.api_key,
            api_secret=server.api_secret,
        ) as router,
        api.LiveKitAPI(server.url, server.api_key, server.api_secret, failover=False) as livekit,
    ):
        await asyncio.sleep(SETTLING_S)
        idle = await _shares(router)
        async with _calls(server) as rooms:
            await _claim(router, livekit, rooms)
            await asyncio.sleep(SETTLING_S)
            busy = await _shares(router)
            await _check(livekit, rooms)
    share = median(busy) - median(idle)
    say(f"no room {median(idle):.1%}, {ROOMS} rooms {median(busy):.1%} of a core")
    return [
        Figure(
            f"processor time of the watch over {ROOMS} rooms with an answered call each",
            f"{share:.1%} of a core ({spread([100 * one for one in busy])}, in per cent, of which "
            f"{median(idle):.1%} without any room)",
            f"under {WANTED:.0%}",
            met=share < WANTED,
        )
    ]


async def _shares(router: processes.Running) -> list[float]:
    """Return what the router took of a core, period by period."""
    shares = []
    loop = asyncio.get_running_loop()
    for _ in range(PERIODS):
        began, cpu_s = loop.time(), router.cpu_s()
        await asyncio.sleep(PERIOD_S)
        shares.append((router.cpu_s() - cpu_s) / (loop.time() - began))
    return shares


@asynccontextmanager
async def _calls(server: LiveKitServer) -> AsyncIterator[Sequence[str]]:
    """Have an agent and a caller in each of the rooms; give the rooms' names."""
    names = [f"call-bench-sweep-{index}" for index in range(ROOMS)]
    free = asyncio.Semaphore(JOINING_AT_ONCE)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )

        async def answered(index: int, room: str) -> None:
            async with free:
                for party in _parties(index):
                    listening = await _join(http, server, room, party)
                    stack.callback(listening.cancel)

        await asyncio.gather(*(answered(index, room) for index, room in enumerate(names)))
        yield names


async def _join(
    http: aiohttp.ClientSession, server: LiveKitServer, room: str, party: _Party
) -> "asyncio.Task[None]":
    token = (
        api.AccessToken(server.api_key, server.api_secret)
        .with_identity(party.identity)
        .with_kind(party.kind)
        .with_attributes(party.attributes)
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .to_jwt()
    )
    query = {"access_token": token, "protocol": "16", "auto_subscribe": "0"}
    socket = await http.ws_connect(f"{server.url}/rtc", params=query)
    await socket.receive()  # the server's word that they have joined

    async def listen() -> None:
        async for _ in socket:
            pass

    return asyncio.create_task(listen())


async def _claim(router: processes.Running, livekit: api.LiveKitAPI, rooms: Sequence[str]) -> None:
    """Deliver that the callers have joined, so that the calls are the router's."""
    listed = await livekit.room.list_rooms(api.ListRoomsRequest())
    sids = {room.name: room.sid for room in listed.rooms}
    async with Line(router.port) as line:
        for index, room in enumerate(rooms):
            joins = load.call(load.number(index), room_sid=sids[room], room=room)[load.JOIN]
            for pause_s in AGAIN_S:
                try:
                    await line.deliver(joins)
                    break
                except RuntimeError:  # 503: as LiveKit does, once more
                    await asyncio.sleep(pause_s)


async def _check(livekit: api.LiveKitAPI, rooms: Sequence[str]) -> None:
    """Raise unless everybody is still there: what was measured else is something else."""
    for room in rooms[:: max(1, len(rooms) // 10)]:
        found = await livekit.room.list_participants(api.ListParticipantsRequest(room=room))
        if len(found.participants) != len(_parties(0)):
            raise RuntimeError(f"{len(found.participants)} are in {room}")
