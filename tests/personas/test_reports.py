import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from personas.reports import (
    MAX_EVENTS,
    CallReport,
    Closed,
    Event,
    Fact,
    Latency,
    Opened,
    PersonaApplied,
    Problem,
    ToolCall,
    Turn,
    Usage,
    json_schema,
    numbered,
    read_event,
)

EVENTS: list[Event] = [
    Opened(room="call-1", direction="inbound", caller="+4930901820"),
    PersonaApplied(version="sha256:one", origin="api", because="the API answered", name="Mira"),
    Fact(id="f1", category="qualification", information="interested"),
    Turn(by="caller", text="Hello."),
    ToolCall(name="share_information", ok=True, duration_ms=1.5),
    Latency(total_ms=900.0),
    Usage(stage="llm", provider="azure", model="gpt", input_tokens=7),
    Problem(what="a voice was missing"),
    Closed(reason="the caller hung up", disposition="answered", duration_s=61.5, facts=1),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_of_each_kind_comes_back_as_it_was_sent(event: Event) -> None:
    sent = numbered(event, seq=3, attempt=2, at=1_800_000_000.5)

    again = read_event(sent.model_dump_json())

    assert again == sent
    assert (again.seq, again.attempt, again.at, again.kind) == (3, 2, 1_800_000_000.5, event.kind)
    assert isinstance(again, type(event))


def test_a_problem_of_a_newer_agent_is_taken_and_counted_with_the_others() -> None:
    sent = '{"kind": "problem", "what": "?", "code": "new_one", "seq": 1, "attempt": 1, "at": 0}'

    read = read_event(sent)

    assert isinstance(read, Problem)
    assert read.code == "other"


@given(st.text(st.characters(), max_size=2_000))
def test_whatever_is_said_can_be_reported(text: str) -> None:
    sent = numbered(Turn(by="caller", text=text), seq=1, attempt=1, at=0.0)

    assert read_event(sent.model_dump_json().encode()) == sent
    assert isinstance(sent, Turn)
    assert "\0" not in sent.text


def test_text_is_cut_and_not_refused() -> None:
    assert len(Turn(by="agent", text="x" * 100_000).text) == 20_000
    assert len(Fact(id="f", category="c" * 500, information="x").category) == 200


def test_a_newer_agent_may_say_more() -> None:
    text = '{"kind": "turn", "seq": 1, "attempt": 1, "at": 0, "by": "agent", "text": "", "mood": 1}'

    assert read_event(text).kind == "turn"


def events(count: int, attempt: int = 1) -> list[Any]:
    turn = Turn(by="agent", text="Hello.")
    return [numbered(turn, seq=seq + 1, attempt=attempt, at=0.0) for seq in range(count)]


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([], id="nothing"),
        pytest.param(events(MAX_EVENTS + 1), id="too-many"),
        pytest.param([*events(1), *events(1, attempt=2)], id="two-attempts"),
    ],
)
def test_a_report_is_a_bounded_batch_of_one_attempt(told: list[Any]) -> None:
    with pytest.raises(ValidationError):
        CallReport(call_id="c1", events=tuple(told))


def test_the_published_schema_describes_what_is_sent() -> None:
    told = [numbered(event, seq=seq, attempt=1, at=1.0) for seq, event in enumerate(EVENTS, 1)]
    report = CallReport(call_id="c1", events=tuple(told))
    schema = json_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(report.model_dump_json()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"call_id": "c1", "events": [{"kind": "rumour"}]}, schema)
