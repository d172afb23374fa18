"""Conversations without a room: the real session and the scripted model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from livekit.agents import llm

from agent import speech
from agent.conversation import Conversation
from agent.errors import TransferFailed
from agent.presence import Presence
from agent.stages import Stages
from personas.options import TransferTarget
from personas.reports import PersonaApplied, Problem
from tests.agent.fakes import FakeReporter
from tests.agent.test_speech import agent_settings
from tests.agent.test_tools import brief
from tests.fakes_personas import until


@dataclass
class FakeWays:
    """A call that ends when it is told to; *engaged*: nobody is put through."""

    engaged: bool = False
    reasons: list[str] = field(default_factory=list)
    referred: list[str] = field(default_factory=list)

    def end(self, reason: str) -> None:
        self.reasons.append(reason)

    async def refer(self, target: TransferTarget) -> None:
        if self.engaged:
            raise TransferFailed("They are engaged.")
        self.referred.append(target.number)


@dataclass
class Talk:
    """One conversation, and what stands around it."""

    conversation: Conversation
    ways: FakeWays
    reporter: FakeReporter

    @property
    def said(self) -> list[str]:
        items = self.conversation._session.history.items
        return [
            item.text_content or ""
            for item in items
            if isinstance(item, llm.ChatMessage) and item.role == "assistant"
        ]


@asynccontextmanager
async def talk(ways: FakeWays | None = None, **document: Any) -> AsyncIterator[Talk]:
    told, ways, reporter = brief(**document), ways or FakeWays(), FakeReporter()
    conversation = Conversation(
        told,
        speech.choose(agent_settings(speech="offline"), told),
        ways=ways,
        reporter=reporter,
        presence=Presence(),
        stages=Stages(clock=lambda: 0.0),
    )
    session = conversation._session
    async with session:
        await session.start(conversation._agent)
        yield Talk(conversation, ways, reporter)
        await conversation.aclose()


async def test_whoever_ends_a_call_first_ends_it() -> None:
    async with talk(closing_message="Fair winds!") as at:
        await asyncio.gather(
            at.conversation.hang_up("first", detail="all done", first="It is late."),
            at.conversation.hang_up("second"),
        )

    assert at.ways.reasons == ["first"]
    assert at.conversation.detail == "all done"
    assert at.said == ["It is late. Fair winds!"]


@pytest.mark.parametrize(
    ("closing", "spoken", "said"),
    [
        ("Fair winds!", "", ["Fair winds!"]),
        ("Fair winds!", "Well then: fair  winds!", []),
        ("Fair winds!", "Bye.", ["Fair winds!"]),
        (None, "Bye.", []),
        (None, "", ["Thank you for the call. Goodbye!"]),
    ],
)
async def test_goodbye_is_said_once(closing: str | None, spoken: str, said: list[str]) -> None:
    async with talk(closing_message=closing) as at:
        await at.conversation.hang_up("over", spoken=spoken)

    assert at.said == said


async def test_after_the_goodbye_nothing_more_is_heard() -> None:
    async with talk() as at:
        await at.conversation.hang_up("over")
        await at.conversation.hear("One more thing!")

    assert len(at.said) == 1


async def test_a_transfer_is_announced_first() -> None:
    desk = TransferTarget(name="desk", number="+13125550111")
    async with talk() as at:
        await at.conversation.transfer(desk)
    async with talk(FakeWays(engaged=True)) as engaged:
        with pytest.raises(TransferFailed):
            await engaged.conversation.transfer(desk)

    assert at.said == ["One moment please, I am putting you through."]
    assert at.ways.referred == ["+13125550111"]


async def test_a_change_swaps_instructions_tools_and_words() -> None:
    async with talk(closing_message="Fair winds!") as at:
        new = brief(persona_name="Jonas", tools=["get_current_time"], language="de")
        parts = speech.choose(agent_settings(speech="offline"), new)
        await at.conversation.change(new, parts)
        tools = [tool.id for tool in at.conversation._agent.tools]
        await at.conversation.hang_up("over")

    applied = [event for event in at.reporter.events if isinstance(event, PersonaApplied)]
    assert [event.name for event in applied] == ["Mira", "Jonas"]
    assert applied[1].version == new.version
    assert tools == ["get_current_time"]
    assert "Jonas" in str(at.conversation._agent.instructions)
    assert at.said == ["Vielen Dank für das Gespräch. Auf Wiederhören!"]


MESSAGE: dict[str, Any] = {"voicemail_message": "Please call Mira back."}
MACHINE: dict[str, Any] = {"direction": "outbound", "detect_answering_machine": True}


async def test_a_session_that_hears_nothing_cannot_tell_a_machine_and_says_so() -> None:
    async with talk(**MACHINE) as at:
        assert not await at.conversation.meets_machine("callee")

    problems = [event.what for event in at.reporter.events if isinstance(event, Problem)]
    assert problems == ["answering machines cannot be told apart with these models"]


@pytest.mark.parametrize(
    ("heard", "fields", "met", "said"),
    [
        (
            "machine-vm",
            {"voicemail_message": "Please call Mira back."},
            True,
            ["Please call Mira back."],
        ),
        ("machine-vm", {}, True, []),
        ("machine-ivr", {"voicemail_message": "Please call Mira back."}, True, []),
        ("human", {"voicemail_message": "Please call Mira back."}, False, []),
    ],
)
async def test_a_mailbox_gets_the_message_and_other_machines_nothing(
    heard: str, fields: dict[str, Any], met: bool, said: list[str]
) -> None:
    async with talk(**MACHINE, **fields) as at:
        at.conversation._hears_audio = True  # what it would hear is given below
        listening = asyncio.create_task(at.conversation.meets_machine("callee"))
        async with asyncio.timeout(20):
            session = at.conversation._session
            while session.amd is None or not session.amd.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # LiveKit's detector tells nobody that it listens
            session.amd._on_transcript(f'/save_prediction {{"label": "{heard}"}}')
            assert await listening is met

    assert at.said == said
    assert at.conversation.met_machine is met
    assert at.ways.reasons == (["an answering machine picked up"] if met else [])


async def test_only_outbound_calls_of_personas_that_ask_for_it_listen_for_machines() -> None:
    async with (
        talk(direction="outbound") as unasked,
        talk(detect_answering_machine=True) as inbound,
    ):
        assert not await unasked.conversation.meets_machine("callee")
        assert not await inbound.conversation.meets_machine("caller")

    assert not [event for event in unasked.reporter.events if isinstance(event, Problem)]


@pytest.mark.parametrize(
    ("fields", "through_model", "said"),
    [
        ({"welcome_message": "Ahoy!"}, True, ["Ahoy!"]),
        ({"welcome_message": "Ahoy!"}, False, ["Ahoy!"]),
        ({}, True, ["Hello, this is Mira."]),
        ({}, False, []),
    ],
)
async def test_who_has_no_welcome_message_greets_through_the_model_where_it_is_forced_to(
    *, fields: dict[str, Any], through_model: bool, said: list[str]
) -> None:
    async with talk(**fields) as at, asyncio.timeout(20):
        await at.conversation.greet(None, through_model=through_model)
        await at.conversation._session.wait_for_idle()

        assert at.said == said


async def recorded(at: Talk) -> None:
    await at.conversation.greet(None, through_model=False)
    await until(lambda: bool(at.reporter.asked or any(map(_is_problem, at.reporter.events))))


def _is_problem(event: object) -> bool:
    return isinstance(event, Problem)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"language": "de"}, "Dieses Gespräch wird aufgezeichnet."),
        ({"recording_message": "We keep this for training."}, "We keep this for training."),
    ],
)
async def test_a_call_is_recorded_after_it_was_said(
    document: dict[str, Any], sentence: str
) -> None:
    async with talk(welcome_message="Ahoy!", record=True, **document) as at:
        at.reporter.answers["record_call"] = "The call is recorded."
        await recorded(at)

        assert at.said == ["Ahoy!", sentence]
        assert at.reporter.asked == [("record_call", {})]


async def test_a_call_that_nobody_wants_recorded_is_not() -> None:
    async with talk(welcome_message="Ahoy!") as at:
        await at.conversation.greet(None, through_model=False)
        await until(lambda: at.said == ["Ahoy!"])

        assert at.reporter.asked == []


async def test_a_recording_that_cannot_be_had_is_a_problem_and_the_call_goes_on() -> None:
    async with talk(welcome_message="Ahoy!", record=True) as at:
        await recorded(at)

        problems = [event.what for event in at.reporter.events if isinstance(event, Problem)]
        assert problems == ["the call is not recorded"]
        assert at.ways.reasons == []
