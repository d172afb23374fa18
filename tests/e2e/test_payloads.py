"""Every payload that existing backends send drives a whole call, inbound and outbound."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from livekit import api

from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from router.demo.services import AgentProcess
from router.demo.settings import DemoSettings
from tests.fakes_sip import TRUNK, FakeSip
from tests.samples.golden import ENCODED, encoded, names, payload

AGENT = "friday-ai-agent"
DIALED = "8655701159"
CALLER = "+13125550123"
#: A persona for the payloads that bring none of their own, in the job's metadata.
NOBODY = '{"personality": "You are Mira.", "persona_name": "Mira", "welcome_message": "Mira here."}'
#: What is heard first.
FIRST = {
    "job_agent_config": "hier ist Katrin",
    "job_agent_config_incomplete": "Guten Tag",  # polite, without a name that nobody sent
    "job_campaign_call": "Service line, good day",
    "job_persona_document": "this is Priya",
    "job_persona_structure": "hier ist Lena",
    "participant_custom_greeting": "Guten Tag Herr Beck",
    "room_campaign_context": "Mira here",
}
HOUSE = """
persona_name: Nora
personality: You are Nora, and you answer for everybody.
welcome_message: Service line, good day.
language: en
"""
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Bed:
    """A server, a worker, and a stand-in for LiveKit's SIP service."""

    def __init__(self, livekit: LiveKitServer, sip: FakeSip, agent: AgentProcess) -> None:
        self.livekit = livekit
        self.sip = sip
        self.agent = agent
        self.client = api.LiveKitAPI(
            livekit.http_url, livekit.api_key, livekit.api_secret, failover=False
        )

    async def place(self, name: str, room: str) -> str:
        """Put a payload where it belongs; give the job's metadata."""
        place = name.partition("_")[0]
        metadata = payload(name) if place == "room" else ""
        async with asyncio.timeout(5):
            await self.client.room.create_room(api.CreateRoomRequest(name=room, metadata=metadata))
        return payload(name) if place == "job" else NOBODY

    async def dispatch(self, room: str, metadata: str) -> None:
        request = api.CreateAgentDispatchRequest(agent_name=AGENT, room=room, metadata=metadata)
        async with asyncio.timeout(5):
            await self.client.agent_dispatch.create_dispatch(request)

    def phone(self, name: str, room: str, **options: Any) -> Phone:
        livekit = self.livekit
        metadata = payload(name) if name.startswith("participant") else ""
        keys = (livekit.url, livekit.api_key, livekit.api_secret)
        return Phone(*keys, room=room, metadata=metadata, **options)

    def applied(self) -> list[dict[str, Any]]:
        lines = self.agent.log_path.read_text(encoding="utf-8").splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line["event"] == "persona.applied"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(logs: Path, livekit_program: Path) -> AsyncIterator[Bed]:
    folder = logs / "payloads"
    (folder / "personas").mkdir(parents=True)
    (folder / "personas" / "house.yaml").write_text(HOUSE, encoding="utf-8")
    server = LiveKitServer(livekit_program, log_path=folder / "livekit-server.log")
    async with server as livekit, FakeSip(livekit) as sip:
        agent = AgentProcess(
            folder / "agent",
            livekit,
            environ=DemoSettings.load().environ,
            settings={
                "LIVEKIT_URL": sip.url,
                "SIP_TRUNK_ID": TRUNK,
                "PERSONA_DIR": str(folder / "personas"),
                "AGENT_IDLE_PROCESSES": "2",
            },
        )
        async with agent:
            made = Bed(livekit, sip, agent)
            yield made
            await made.client.aclose()


async def talk(phone: Phone, name: str) -> None:
    """Hear the first words, say something, hear the answer to it, and hang up."""

    def heard(words: str) -> Callable[[Phone], bool]:
        return lambda one: words in " ".join(utterance.text for utterance in one.utterances)

    await phone.wait_until(heard(FIRST[name]), timeout_s=25, what=f"greeting: {FIRST[name]}")
    await phone.say("apples")
    await phone.wait_until(heard("apples"), timeout_s=20, what="answer")
    await phone.hang_up()


@pytest.mark.parametrize("name", names())
async def test_a_payload_drives_an_inbound_call(bed: Bed, name: str) -> None:
    room = f"in-{name}"
    before = len(bed.applied())
    metadata = await bed.place(name, room)

    async with bed.phone(name, room, dialed=DIALED, caller=CALLER) as caller:
        await bed.dispatch(room, metadata)
        await talk(caller, name)

    applied = bed.applied()[before]
    assert applied["direction"] == "inbound"
    assert name.partition("_")[0] in applied["keys"]
    assert (applied["level"] == "error") == any(
        "required_missing" in problem for problem in applied["problems"]
    )
    assert room not in {request.room_name for request in bed.sip.dialed}


@pytest.mark.parametrize("name", names())
async def test_a_payload_drives_an_outbound_call(bed: Bed, name: str) -> None:
    room = f"out-{name}"
    before = len(bed.applied())
    metadata = await bed.place(name, room)
    document = json.loads(metadata)

    if "phone_number" in document:  # then the agent dials
        if "outbound_trunk_id" in document:
            metadata = json.dumps({**document, "outbound_trunk_id": TRUNK})
        await bed.dispatch(room, metadata)
        callee = await bed.sip.phone_in(room)
        await talk(callee, name)
        assert [one.sip_call_to for one in bed.sip.dialed if one.room_name == room] == [
            document["phone_number"]
        ]
    else:  # then whoever sent it has dialed
        async with bed.phone(name, room, dialed=DIALED, caller=CALLER, outbound=True) as callee:
            await bed.dispatch(room, metadata)
            await callee.wait_for_agent(timeout_s=15)
            await callee.set_call_status("active")
            await talk(callee, name)

    assert bed.applied()[before]["direction"] == "outbound"


@pytest.mark.parametrize("name", ENCODED)
async def test_what_our_router_sends_drives_a_call(bed: Bed, name: str) -> None:
    room = f"ours-{name}"

    async with bed.phone(name, room, dialed=DIALED, caller=CALLER) as caller:
        await bed.dispatch(room, encoded(name))
        await talk(caller, name)


async def test_nothing_of_a_payload_is_in_the_log_but_the_names_of_its_fields(bed: Bed) -> None:
    log = bed.agent.log_path.read_text(encoding="utf-8")

    for secret in ("Beck", "Ruth", "alder.example", "30901820", "2125550147", "Inspektion"):
        assert secret not in log
    assert "customer_name" in log
