from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc

from agent.election import Leave, Rival, Stay, on_arrival, on_newcomer, rival_in

AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
SIP = rtc.ParticipantKind.PARTICIPANT_KIND_SIP


def test_an_empty_room_is_ours() -> None:
    assert on_arrival(1, []) == Stay()


def test_whoever_was_here_first_with_our_attempt_or_a_later_one_speaks() -> None:
    assert isinstance(on_arrival(1, [Rival("a", 1)]), Leave)
    assert isinstance(on_arrival(1, [Rival("a", 2)]), Leave)
    assert isinstance(on_arrival(2, [Rival("a", 1), Rival("b", 2)]), Leave)


def test_agents_of_earlier_attempts_are_removed() -> None:
    assert on_arrival(3, [Rival("a", 1), Rival("b", 2)]) == Stay(("a", "b"))


def test_only_a_later_attempt_takes_over() -> None:
    assert isinstance(on_newcomer(1, Rival("b", 2)), Leave)
    assert on_newcomer(1, Rival("b", 1)) == Stay()
    assert on_newcomer(2, Rival("b", 1)) == Stay()


@dataclass
class Room:
    """A room as LiveKit keeps it: whoever joins sees all who came before and have not left."""

    present: dict[str, int] = field(default_factory=dict)  # identity → attempt
    leaving: list[str] = field(default_factory=list)

    def join(self, identity: str, attempt: int, *, news_arrives: bool) -> None:
        verdict = on_arrival(attempt, [Rival(*one) for one in self.present.items()])
        others = dict(self.present)
        self.present[identity] = attempt
        if isinstance(verdict, Leave):
            self.leaving.append(identity)
        else:
            self.leaving.extend(verdict.remove)
        if news_arrives:
            for other, theirs in others.items():
                if isinstance(on_newcomer(theirs, Rival(identity, attempt)), Leave):
                    self.leaving.append(other)

    def settle(self) -> None:
        """Let everyone who is on the way out be gone."""
        for identity in self.leaving:
            self.present.pop(identity, None)
        self.leaving.clear()


@given(
    st.lists(
        st.tuples(st.integers(min_value=1, max_value=4), st.booleans(), st.booleans()),
        min_size=1,
        max_size=7,
    )
)
def test_of_every_set_of_agents_in_every_order_exactly_one_remains(
    joins: list[tuple[int, bool, bool]],
) -> None:
    room = Room()

    for number, (attempt, news_arrives, settles) in enumerate(joins):
        room.join(f"agent-{number}", attempt, news_arrives=news_arrives)
        if settles:
            room.settle()
    room.settle()

    highest = max(attempt for attempt, _, _ in joins)
    first_of_those = next(n for n, (attempt, _, _) in enumerate(joins) if attempt == highest)
    assert room.present == {f"agent-{first_of_those}": highest}


@dataclass
class FakeParticipant:
    """What the election looks at of a LiveKit participant."""

    identity: str = "agent-x"
    kind: int = AGENT
    attributes: dict[str, str] = field(default_factory=dict)


def rival(participant: FakeParticipant, call_id: str = "c1") -> Rival | None:
    return rival_in(participant, agent_name="friday", call_id=call_id)


@pytest.mark.parametrize(
    ("participant", "expected"),
    [
        pytest.param(
            FakeParticipant(attributes={"lk.agent.name": "friday", "persona.attempt": "2"}),
            Rival("agent-x", 2),
            id="our-name",
        ),
        pytest.param(
            FakeParticipant(attributes={"lk.agent.name": "other", "persona.call": "c1"}),
            Rival("agent-x", 1),
            id="the-fallback-agent-of-our-call",
        ),
        pytest.param(
            FakeParticipant(attributes={"lk.agent.name": "friday", "persona.attempt": "-1"}),
            Rival("agent-x", 1),
            id="nonsense-counts-as-the-first",
        ),
        pytest.param(FakeParticipant(attributes={"lk.agent.name": "other"}), None, id="other"),
        pytest.param(
            FakeParticipant(kind=SIP, attributes={"lk.agent.name": "friday"}), None, id="caller"
        ),
    ],
)
def test_who_is_a_rival(participant: FakeParticipant, expected: Rival | None) -> None:
    assert rival(participant) == expected


def test_agents_of_no_call_are_not_of_the_same_call() -> None:
    assert rival(FakeParticipant(attributes={"persona.call": ""}), call_id="") is None
