"""Whole conversations as text: what `persona-router talk` runs, and LiveKit's own assertions."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from livekit.agents import AgentSession, utils
from livekit.agents.voice.run_result import RunResult

from agent import job, speech
from agent.__main__ import NO_LIVEKIT
from agent.conversation import Conversation
from agent.presence import Presence
from agent.settings import AgentSettings
from agent.stages import Stages
from agent.talk import Rehearsal, TalkReporter, TalkWays, talk
from agent.wording import filled
from personas.sources.files import shipped
from tests.samples.golden import payload

SETTINGS = AgentSettings.load(**NO_LIVEKIT, speech="offline")
DENTIST = payload("job_persona_document")
GARAGE = payload("job_agent_config")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def rehearsal(script: str | None, **told: Any) -> Rehearsal:
    return Rehearsal(**{"job": DENTIST, **told}, script=script)


async def test_a_script_that_is_met_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    script = """
- contains: Lakeside Dental
- {says: "Who are you?", contains: front desk, lacks: "{"}
- {says: My email is ruth@alder.example, calls: share_information}
- {says: Goodbye, contains: Thank you for calling, calls: end_call}
"""

    status = await talk(SETTINGS, rehearsal(script))

    said = capsys.readouterr()
    assert status == 0
    assert said.err == ""
    assert "> Who are you?\nPriya: I am Priya, the front desk" in said.out
    assert "  [share_information]\n" in said.out


async def test_an_expectation_that_is_not_met_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    script = "- contains: Hotel\n- {says: 'Who are you?', contains: Priya, calls: transfer_call}\n"

    status = await talk(SETTINGS, rehearsal(script))

    assert status == 6
    assert capsys.readouterr().err == (
        "error greeting: expected 'Hotel'\nerror Who are you?: expected the tool transfer_call\n"
    )


async def test_who_goes_on_after_the_end_of_the_call_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = await talk(SETTINGS, rehearsal("- says: Goodbye\n- says: Are you there?\n"))

    assert status == 6
    assert "the call was over" in capsys.readouterr().err


async def test_a_script_that_cannot_be_read_is_a_mistake_in_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = await talk(SETTINGS, rehearsal("- asks: x\n"))

    assert status == 2
    assert "step 1, asks" in capsys.readouterr().err


async def test_lines_of_a_terminal_are_answered_until_one_side_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = await talk(
        SETTINGS, rehearsal(None, job=GARAGE), stdin=io.StringIO("Hallo?\n\nTschüss\nmehr\n")
    )

    said = capsys.readouterr()
    assert status == 0
    assert said.out.startswith("Katrin: Guten Tag, hier ist Katrin vom Autohaus Weber.\n")
    assert "Auf Wiederhören!" in said.out
    assert "mehr" not in said.out


async def test_the_end_of_the_lines_is_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    status = await talk(SETTINGS, rehearsal(None), stdin=io.StringIO(""))

    assert status == 0
    assert "Lakeside" in capsys.readouterr().out


async def test_each_turn_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    await talk(SETTINGS, rehearsal("- {says: Goodbye, calls: x}\n", as_json=True))

    greeting, goodbye = map(json.loads, capsys.readouterr().out.splitlines())
    assert greeting["said"] == ["Good day, this is Priya at Lakeside Dental, how can I help?"]
    assert goodbye["calls"] == ["end_call"]
    assert goodbye["failed"] == ["expected the tool x"]


async def test_other_places_and_the_persona_of_a_campaign_are_heard(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = rehearsal(
        "- {contains: Herr Beck}\n",
        job=payload("job_campaign_call"),
        room=payload("room_campaign_context"),
        participant=payload("participant_custom_greeting"),
        persona=json.loads(DENTIST),
    )

    assert await talk(SETTINGS, told) == 0
    assert capsys.readouterr().out.startswith("Priya: Guten Tag Herr Beck")


# ---- LiveKit's evaluation helpers ----------------------------------------------------------


@asynccontextmanager
async def conversing(metadata: str) -> AsyncIterator[AgentSession[None]]:
    brief = filled(
        job.read(metadata, "", "", house=shipped("house"), personas_by_id=lambda _: None)
    )
    async with utils.http_context.open():
        conversation = Conversation(
            brief,
            speech.choose(SETTINGS, brief),
            ways=TalkWays(),
            reporter=TalkReporter(),
            presence=Presence(),
            stages=Stages(clock=lambda: 0.0),
        )
        session = await conversation.rehearse()
        yield session
        await conversation.aclose()
        await session.aclose()


async def test_the_dentists_desk_writes_down_what_it_is_told() -> None:
    async with conversing(DENTIST) as session:
        result: RunResult[None] = await session.run(user_input="My email is ruth@alder.example")

    result.expect.skip_next_event_if(type="message", role="user")
    result.expect.next_event().is_function_call(name="share_information")
    result.expect.next_event().is_function_call_output(is_error=False)
    result.expect.next_event().is_message(role="assistant")
    result.expect.no_more_events()


async def test_the_garage_ends_the_call_when_it_is_told_goodbye() -> None:
    async with conversing(GARAGE) as session:
        result: RunResult[None] = await session.run(user_input="Auf Wiederhören")

    result.expect.contains_function_call(name="end_call")


async def test_a_campaign_call_has_no_tool_to_use() -> None:
    async with conversing(payload("job_campaign_call")) as session:
        result: RunResult[None] = await session.run(user_input="My email is ruth@alder.example")

    assert [event for event in result.events if event.type == "function_call"] == []
    result.expect.contains_message(role="assistant")
