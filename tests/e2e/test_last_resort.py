"""No worker at all: the router itself answers the phone, on the real livekit-server."""

import json
import os
import signal
from array import array
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from livekit import api, rtc

from router.demo.livekit_server import LiveKitServer
from router.demo.persona_api import PersonaApi
from router.demo.phone import Phone
from router.demo.services import RouterProcess
from router.demo.settings import DemoSettings
from router.demo.sound import AUDIBLE, HEARD_HZ
from tests.e2e.evidence import until
from tests.fakes_sip import FakeSip, open_sip

DID = "+4930901820"
PERSONA = {"personality": "Du bist kurz.", "welcome_message": "Hafen.", "language": "de-AT"}
FALLBACK = "+13125550188"
ANSWER_S = 40.0


@dataclass(frozen=True, slots=True)
class Alone:
    """LiveKit, a persona API and a router; no worker, no agent."""

    livekit: LiveKitServer
    sip: FakeSip
    router: RouterProcess

    def phone(self) -> Phone:
        server = self.livekit
        return Phone(server.url, server.api_key, server.api_secret, dialed=DID)

    def events(self, name: str) -> list[dict[str, Any]]:
        whole, _, _ = self.router.child.log().rpartition("\n")
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == name]

    async def ended(self) -> dict[str, Any]:
        """Wait until the router has done with a call; return what it logged."""
        found: list[dict[str, Any]] = await until(
            lambda: self.events("call.last_resort"), timeout_s=ANSWER_S, what="call.last_resort"
        )
        return found[0]

    async def metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{self.router.url}/metrics")).text

    @asynccontextmanager
    async def agent(self, room: str) -> AsyncIterator[rtc.Room]:
        """An agent that comes late, by itself."""
        token = (
            api.AccessToken(self.livekit.api_key, self.livekit.api_secret)
            .with_identity("late-agent")
            .with_kind("agent")
            .with_grants(api.VideoGrants(room_join=True, room=room, agent=True))
        )
        connection = rtc.Room()
        await connection.connect(self.livekit.url, token.to_jwt())
        yield connection
        await connection.disconnect()


@asynccontextmanager
async def open_alone(folder: Path, program: Path, **settings: str) -> AsyncIterator[Alone]:
    environ = DemoSettings.load().environ
    async with AsyncExitStack() as stack:
        personas = stack.enter_context(PersonaApi({DID[1:]: PERSONA}))
        router = RouterProcess(
            folder / "router",
            environ=environ,
            persona_api_base=personas.url,
            settings={"ANSWER_TIMEOUT_S": "0.2", "PERSONA_WARM_UP": "0", **settings},
        )
        server = LiveKitServer(
            program, webhook_urls=[router.webhook_url], log_path=folder / "livekit-server.log"
        )
        livekit = await stack.enter_async_context(server)
        sip = stack.enter_context(open_sip(livekit))
        router.connect(livekit)
        router.env["LIVEKIT_URL"] = sip.url
        await stack.enter_async_context(router)
        yield Alone(livekit, sip, router)


def heard_s(phone: Phone) -> float:
    """How many seconds of what was heard are no silence, by tenths."""
    samples = array("h", phone.recording.pcm)
    tenth = HEARD_HZ // 10
    parts = (samples[at : at + tenth] for at in range(0, len(samples), tenth))
    return sum(max(part) > AUDIBLE for part in parts) / 10


async def test_where_no_worker_is_the_phone_is_answered_and_the_recording_heard(
    folder: Path, livekit_program: Path
) -> None:
    async with open_alone(folder, livekit_program) as alone, alone.phone() as caller:
        await caller.wait_for_answer(timeout_s=ANSWER_S)
        await caller.wait_for_end(timeout_s=ANSWER_S)
        done = await alone.ended()
        metrics = await alone.metrics()

    assert (done["how"], done["language"]) == ("goodbye", "de-AT")
    assert heard_s(caller) > 2.0
    assert caller.agents == ()
    assert 'persona_router_last_resort_total{how="goodbye"} 1.0' in metrics
    assert 'persona_router_recoveries_total{action="last_resort"} 1.0' in metrics


async def test_the_caller_is_handed_on_to_the_fallback_number(
    folder: Path, livekit_program: Path
) -> None:
    settings = {"FALLBACK_NUMBER": FALLBACK}
    async with (
        open_alone(folder, livekit_program, **settings) as alone,
        alone.phone() as caller,
    ):
        [asked] = await until(
            lambda: alone.sip.transfers, timeout_s=ANSWER_S, what="request to transfer"
        )
        heard = heard_s(caller)
        await caller.hang_up()  # as the gateway does when the other end has taken the call
        done = await alone.ended()
        log = alone.router.child.log()

    assert (asked.transfer_to, asked.participant_identity) == (f"tel:{FALLBACK}", caller.identity)
    assert asked.room_name == caller.room
    assert done["how"] == "transferred"
    assert heard > 1.0
    assert FALLBACK[1:] not in log


async def test_an_agent_that_comes_late_finds_the_caller_alone(
    folder: Path, livekit_program: Path
) -> None:
    async with open_alone(folder, livekit_program) as alone, alone.phone() as caller:
        await caller.wait_for_answer(timeout_s=ANSWER_S)
        async with alone.agent(caller.room) as agent:
            await until(
                lambda: list(agent.remote_participants) == [caller.identity],
                what="the router to leave",
            )
            done = await alone.ended()

    assert done["how"] == "agent_came"


async def test_the_party_of_a_router_that_dies_leaves_and_the_next_router_ends_the_call(
    folder: Path, livekit_program: Path
) -> None:
    async with open_alone(folder, livekit_program) as alone, alone.phone() as caller:
        await caller.wait_for_answer(timeout_s=ANSWER_S)
        os.kill(alone.router.child.pid, signal.SIGKILL)  # the router alone, not its party
        await until(lambda: caller.others == (), what="the end of the router's party")
        await alone.router.stop()
        await alone.router.start()
        await caller.wait_for_end(timeout_s=ANSWER_S)
        [alert] = [one for one in alone.events("alert.raised") if one["action"] == "given_up"]

    assert alert["because"] == "no agent has come, time after time"
