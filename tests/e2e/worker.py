"""One ``python -m agent`` beside a real server, without a router: what tests do with it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from livekit import api

from personas.contract import CallConfig, Origin, encode
from personas.model import Persona
from personas.sources.files import shipped
from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from router.demo.processes import Child

AGENT = "friday-ai-agent"
OWN_STALL_S = 0.05  # processor time of a stall from which on it is ours
DIALED = "+13125550100"
CALLER = "+13125550123"
WELCOME = "Harbour hotel, Mira speaking."
PERSONA = Persona.from_document(
    {
        "persona_name": "Mira",
        "personality": "You are Mira, the front desk of a harbour hotel.",
        "welcome_message": WELCOME,
        "closing_message": "Fair winds!",
        "language": "en",
    }
)
RECEIVED = "dispatch.received"
OVER = ("call.ended", "call.not_held", "election.lost", "outbound.failed")


@asynccontextmanager
async def running_worker(livekit: LiveKitServer, folder: Path) -> AsyncIterator[Child]:
    """Run ``python -m agent`` until the block ends."""
    passed_on = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    worker = Child(
        "agent",
        [sys.executable, "-m", "agent"],
        log_path=folder / "agent.log",
        cwd=folder,
        env={
            **passed_on,
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.api_key,
            "LIVEKIT_API_SECRET": livekit.api_secret,
            "SPEECH": "offline",
            "AGENT_HEALTH_PORT": "0",
            "AGENT_IDLE_PROCESSES": "2",
        },
    )
    try:
        await worker.wait_until(
            lambda: "registered worker" in worker.log(), timeout_s=60, what="registration"
        )
        yield worker
    finally:
        await worker.stop()


class Logged(Protocol):
    """A worker's log."""

    def log(self) -> str:
        """Return the lines that are looked at."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that several tests share, and what it has logged in this one."""

    child: Child
    before: int  # how much it had logged when the test began

    def log(self) -> str:
        """Return what it logged since."""
        return self.child.log()[self.before :]

    async def calls_over(self) -> None:
        """Wait until each call that it was sent is over."""
        await until(lambda: _jobs(self, RECEIVED) <= _jobs(self, *OVER), timeout_s=30)


def _jobs(worker: Logged, *names: str) -> set[str]:
    return {line["job_id"] for name in names for line in events(worker, name)}


def phone(livekit: LiveKitServer, **options: Any) -> Phone:
    server = (livekit.url, livekit.api_key, livekit.api_secret)
    return Phone(*server, dialed=DIALED, caller=CALLER, **options)


def metadata(persona: Persona = PERSONA, *, attempt: int = 1) -> str:
    origin = Origin(source="api", version=persona.version, because="the API answered")
    call = CallConfig(call_id="c1", room="r", origin=origin, attempt=attempt)
    return encode(persona, call, shipped("house")).text


async def dispatch(client: api.LiveKitAPI, room: str, text: str) -> None:
    request = api.CreateAgentDispatchRequest(agent_name=AGENT, room=room, metadata=text)
    async with asyncio.timeout(5):
        await client.agent_dispatch.create_dispatch(request)


async def agents_in(client: api.LiveKitAPI, room: str) -> list[api.ParticipantInfo]:
    async with asyncio.timeout(5):
        listed = await client.room.list_participants(api.ListParticipantsRequest(room=room))
    return [one for one in listed.participants if one.kind == api.ParticipantInfo.Kind.AGENT]


async def until(happened: Callable[[], Any], *, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # what another process wrote or did; there is no event


def events(worker: Logged, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def is_calm(worker: Logged) -> bool:
    """Whether the worker had nothing to complain about; what the machine kept waiting is not it."""
    lines = worker.log().splitlines()
    return all(line.startswith("{") for line in lines) and not [
        line
        for line in map(json.loads, lines)
        if line["level"] not in ("debug", "info") and not kept_waiting(line)
    ]


def kept_waiting(line: dict[str, Any]) -> bool:
    """Whether it is the machine's doing: a late process, or a stall of which little was ours."""
    event = str(line["event"])
    if event.startswith("event loop blocked"):
        return float(line["cpu_time"]) < OWN_STALL_S
    return event.startswith(("no warmed process available", "timed out waiting for idle processes"))
