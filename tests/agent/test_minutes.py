from typing import Any

import pytest
from livekit.agents import ConversationItemAddedEvent, SessionUsageUpdatedEvent, llm
from livekit.agents.metrics import AgentSessionUsage, LLMModelUsage, STTModelUsage, TTSModelUsage

from agent.minutes import Minutes, latency
from personas.reports import Latency, Turn, Usage
from tests.agent.fakes import FakeReporter


class FakeSession:
    """Emits events as a session does."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}

    def on(self, name: str, listener: Any) -> None:
        self.listeners[name] = listener

    def say(self, role: str, text: str, *, interrupted: bool = False, **metrics: float) -> None:
        message = llm.ChatMessage.model_validate(
            {"role": role, "content": [text], "interrupted": interrupted, "metrics": metrics}
        )
        self.listeners["conversation_item_added"](ConversationItemAddedEvent(item=message))

    def use(self, *models: Any) -> None:
        usage = AgentSessionUsage(model_usage=list(models))
        self.listeners["session_usage_updated"](SessionUsageUpdatedEvent(usage=usage))


@pytest.fixture
def session() -> Any:
    return FakeSession()


def test_turns_are_noted_in_order_and_silence_is_none(session: Any) -> None:
    reporter = FakeReporter()
    minutes = Minutes(reporter)
    minutes.attend(session)

    session.say("assistant", " Hello. ")
    session.say("user", "Hi.")
    session.say("system", "secret instructions")
    session.say("assistant", "  ")
    session.say("assistant", "I was", interrupted=True)

    assert reporter.events == [
        Turn(by="agent", text="Hello."),
        Turn(by="caller", text="Hi."),
        Turn(by="agent", text="I was", interrupted=True),
    ]
    assert minutes.turns == 3


def test_the_latency_of_an_answer_is_put_together_from_both_turns(session: Any) -> None:
    reporter = FakeReporter()
    Minutes(reporter).attend(session)

    session.say("user", "Hi.", transcription_delay=0.2, end_of_turn_delay=0.5)
    session.say("assistant", "Hello.", e2e_latency=1.25, llm_node_ttft=0.3, tts_node_ttfb=0.1)
    session.say("assistant", "And more.")

    measured = [event for event in reporter.events if isinstance(event, Latency)]
    assert measured == [
        Latency(total_ms=1250.0, stt_ms=200.0, end_of_turn_ms=500.0, llm_ms=300.0, tts_ms=100.0)
    ]


def test_what_was_measured_across_two_clocks_is_never_below_zero() -> None:
    assert latency({}, {"e2e_latency": -0.1}) == Latency(total_ms=0.0)
    assert latency({"transcription_delay": "x"}, {}) is None


def test_the_use_of_each_model_is_noted_when_it_has_grown(session: Any) -> None:
    reporter = FakeReporter()
    minutes = Minutes(reporter)
    minutes.attend(session)
    mind = LLMModelUsage(provider="azure", model="gpt", input_tokens=10, output_tokens=2)
    ears = STTModelUsage(provider="deepgram", model="nova", audio_duration=1.5)
    mouth = TTSModelUsage(provider="azure", model="neural", characters_count=6)

    session.use(mind, ears)
    session.say("assistant", "Hello.")
    session.use(mind, ears, mouth)
    minutes.close()
    minutes.close()

    assert [event for event in reporter.events if isinstance(event, Usage)] == [
        Usage(stage="llm", provider="azure", model="gpt", input_tokens=10, output_tokens=2),
        Usage(stage="stt", provider="deepgram", model="nova", audio_s=1.5),
        Usage(stage="tts", provider="azure", model="neural", characters=6),
    ]
