from typing import Any

import pytest

from personas.contract import ATTRIBUTE_FIRST_WORD
from personas.reports import Fact, Latency, Problem, numbered
from router.metrics import Metrics
from router.records.calls import Dispatched
from router.records.turns import Turned
from router.routing import Event, Participant
from router.tally import MOST, Tally

NOW = 1_800_000_000.0


class Desk:
    """A tally under a clock that stands still."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.tally = Tally(self.metrics, clock=lambda: NOW)

    def send(self, room_sid: str | None = "RM_1", *, attempt: int = 1, **more: Any) -> None:
        self.tally.sent(
            Dispatched(
                call_id="c1",
                attempt=attempt,
                room="call-1",
                room_sid=room_sid,
                sip_call_id=None,
                caller=None,
                dialed_number=None,
                trunk=None,
                persona_name=None,
                persona_version="sha256:0",
                persona_origin="api",
                persona_because="",
                language=None,
                started_at=NOW,
                **more,
            )
        )

    def tell(self, name: str, *, joined_at: float = 0.0, kind: str = "AGENT", **more: Any) -> None:
        agent = Participant("PA_1", "agent-1", kind, more.get("attributes", {}), joined_at)
        self.tally.delivered(Event("EV_1", name, NOW, "call-1", "RM_1", agent))

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"persona_router_{name}", labels)


def test_an_agents_join_ends_a_stage_once() -> None:
    desk = Desk()
    desk.send()

    desk.tell("participant_joined", joined_at=NOW + 0.4)
    desk.tell("participant_joined", joined_at=NOW + 0.9)  # another agent, or told again

    assert desk.value("stage_seconds_count", stage="agent_joined") == 1
    assert desk.value("stage_seconds_sum", stage="agent_joined") == pytest.approx(0.4)


def test_an_agent_whom_nobody_here_sent_and_a_caller_are_not_counted() -> None:
    desk = Desk()

    desk.tell("participant_joined", joined_at=NOW)
    desk.send()
    desk.tell("participant_joined", joined_at=NOW, kind="SIP")
    desk.tell("room_finished")
    desk.tell("participant_joined", joined_at=NOW)

    assert desk.value("stage_seconds_count", stage="agent_joined") is None


def test_clocks_that_disagree_make_a_stage_of_nothing() -> None:
    desk = Desk()
    desk.send()

    desk.tell("participant_joined", joined_at=NOW - 5)

    assert desk.value("stage_seconds_sum", stage="agent_joined") == 0


@pytest.mark.parametrize(
    ("attributes", "counted"),
    [
        pytest.param({ATTRIBUTE_FIRST_WORD: f"{NOW + 0.75:.3f}"}, 1, id="spoke"),
        pytest.param({ATTRIBUTE_FIRST_WORD: "soon"}, None, id="rubbish"),
        pytest.param({}, None, id="silent"),
    ],
)
def test_the_first_word_is_known_when_the_agent_leaves(
    attributes: dict[str, str], counted: int | None
) -> None:
    desk = Desk()

    desk.tell("participant_left", joined_at=NOW, attributes=attributes)

    assert desk.value("stage_seconds_count", stage="first_word") == counted


def test_a_further_attempt_is_no_further_call() -> None:
    desk = Desk()

    desk.send()
    desk.send(attempt=2)

    assert desk.value("calls_total", source="api") == 1


def test_a_call_that_we_place_rings_somewhere_else() -> None:
    desk = Desk()

    desk.send(None, direction="outbound")

    assert desk.value("calls_total", source="api") == 0


def test_calls_whose_agent_never_comes_do_not_fill_the_memory() -> None:
    desk = Desk()

    for number in range(MOST + 5):
        desk.send(f"RM_{number}")
    desk.send("RM_1")
    desk.tell("participant_joined", joined_at=NOW)

    assert desk.value("stage_seconds_count", stage="agent_joined") == 1


def test_what_agents_tell_is_counted_by_fixed_words() -> None:
    desk = Desk()
    told: list[Fact | Problem | Latency] = [
        Fact(id="f1", category="+4930901820", information="x"),
        Problem(what="call +4930901820", code="other"),
        Latency(total_ms=800.0, llm_ms=300.0),
    ]
    events = tuple(numbered(one, seq=seq, attempt=1, at=NOW) for seq, one in enumerate(told, 1))

    desk.tally.turned(Turned(rang_s=1.2, disposition="+4930901820", events=events))

    assert desk.value("report_events_total", kind="fact") == 1
    assert desk.value("call_problems_total", code="other") == 1
    assert desk.value("turn_seconds_sum", stage="llm") == pytest.approx(0.3)
    assert desk.value("turn_seconds_count", stage="tts") is None
    assert desk.value("ring_seconds_sum") == pytest.approx(1.2)
    assert desk.value("calls_closed_total", disposition="other") == 1
