"""What became of a call that was dialed, by what can be seen of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.campaigns.resolution import (
    ALONE_S,
    LONGEST_RING_S,
    NOBODY_S,
    NOTHING_HEARD,
    REPORT_S,
    Heard,
    Over,
    PickedUp,
    Sight,
    Wait,
    heard,
    resolve,
    seen,
)
from router.events import verify
from router.routing import Event, Participant
from tests.samples import KEY, SECRET, deliveries

AGENT = Participant("PA_a", "agent-x", "AGENT", {})
DIALED_AT = 1_000.0


def callee(status: str) -> Participant:
    return Participant("PA_c", "out-1", "SIP", {"sip.callStatus": status})


def outcome(*there: Participant, after_s: float, answered: bool = False, **sight: Any) -> Any:
    known = Sight(**({"since": DIALED_AT} | sight))
    return resolve(
        there,
        "out-1",
        answered=answered,
        dialed_at=DIALED_AT,
        sight=known,
        now=DIALED_AT + after_s,
    )


def test_while_agent_or_phone_are_there_it_is_waited_for() -> None:
    assert outcome(AGENT, after_s=60) == Wait()
    assert outcome(AGENT, callee("ringing"), after_s=60) == Wait()
    assert outcome(AGENT, callee("active"), after_s=60, answered=True) == Wait()
    assert outcome(AGENT, callee("active"), after_s=5) == PickedUp()


def test_who_was_watched_from_the_beginning_and_never_came_did_not_dial() -> None:
    assert outcome(after_s=NOBODY_S - 1) == Wait()
    assert outcome(after_s=NOBODY_S) == Over("failed", "no agent came", end_room=True)


def test_what_was_not_watched_is_uncertain() -> None:
    found = outcome(after_s=NOBODY_S + 50, since=DIALED_AT + 20, unbroken=False)

    assert found == Over("uncertain", "nobody saw it", end_room=True)


def test_the_time_counts_from_the_first_router_that_took_it_over() -> None:
    looked: dict[str, Any] = {"since": DIALED_AT + 60, "unbroken": False}

    assert outcome(after_s=61, **looked) == Wait()
    assert outcome(after_s=61, adopted_at=DIALED_AT + 40, **looked) == Wait()
    assert outcome(after_s=61, adopted_at=DIALED_AT + 30, **looked) == Over(
        "uncertain", "nobody saw it", end_room=True
    )


def test_an_agent_that_has_left_is_given_time_to_report() -> None:
    assert outcome(after_s=REPORT_S + 4, agent_at=DIALED_AT + 5) == Wait()
    late = outcome(after_s=REPORT_S + 5, agent_at=DIALED_AT + 5)
    assert isinstance(late, Over)
    assert late.state == "uncertain"
    assert outcome(after_s=REPORT_S + 5, agent_at=DIALED_AT + 5, answered=True) == Over(
        "answered", "the room is gone"
    )


def test_a_phone_without_an_agent_is_hung_up_soon() -> None:
    ringing = callee("ringing")
    assert outcome(ringing, after_s=ALONE_S) == Wait()
    assert outcome(ringing, after_s=ALONE_S + 1) == Over(
        "canceled", "the agent was lost while it rang", end_room=True
    )
    assert outcome(callee("active"), after_s=ALONE_S + 1) == Over(
        "answered", "the agent was lost", end_room=True
    )


def test_an_agent_that_never_says_anything_is_not_waited_for_for_ever() -> None:
    assert outcome(AGENT, after_s=LONGEST_RING_S + 1) == Over(
        "uncertain", "the agent does not say what became of it", end_room=True
    )


def recorded(case: str) -> list[Event]:
    """Give what LiveKit sent of a recorded call, as if its room had been an attempt's."""
    events = []
    for one in deliveries("sip_outbound_deliveries"):
        event = verify(one.authorization, one.body, one.received_at, {KEY: SECRET})
        if event.room == f"rec-{case}-wait":
            events.append(event._replace(room="out-1"))
    return events


@pytest.mark.parametrize(
    ("case", "ended"),
    [
        ("answered", "answered"),
        ("busy", "declined"),
        ("decline", "declined"),
        ("noanswer", "no_answer"),
        ("nobody_listening", "no_answer"),
        ("unavailable", None),
    ],
)
def test_events_tell_when_a_callee_came_and_how_they_left(case: str, ended: str | None) -> None:
    told = NOTHING_HEARD
    for at, event in enumerate(recorded(case), 1):
        told = told.and_then(heard(event, float(at)))

    assert told == Heard(None, told.callee_seen_at, told.left_at, told.left_as, told.room_gone_at)
    assert told.left_as == ended
    assert told.room_gone_at is not None
    assert told.left_at is not None
    assert told.room_gone_at > told.left_at


def test_events_of_agents_and_of_others_in_the_room_are_told_apart() -> None:
    event = recorded("busy")[-2]._replace(participant=AGENT)

    assert heard(event, 5.0) == Heard(agent_seen_at=5.0)
    other = AGENT._replace(kind="STANDARD")
    assert heard(event._replace(participant=other), 5.0) == NOTHING_HEARD


def test_what_nobody_saw_is_taken_from_events_after_the_time_for_a_report() -> None:
    told = Heard(agent_seen_at=DIALED_AT + 1, left_at=DIALED_AT + 5, left_as="no_answer")
    sight = Sight(DIALED_AT + 6, unbroken=False).told(told)
    known: dict[str, Any] = {name: getattr(sight, name) for name in Sight.__slots__}

    assert outcome(after_s=REPORT_S + 4, **known) == Wait()
    late = outcome(after_s=REPORT_S + 7, **known)

    assert late == Over("no_answer", "LiveKit told how the callee left", end_room=True)


def test_an_agent_that_came_and_went_between_two_looks_is_known_by_its_events() -> None:
    sight = Sight(DIALED_AT).told(Heard(agent_seen_at=DIALED_AT + 1))

    found = outcome(after_s=NOBODY_S + 20, agent_at=sight.agent_at)

    assert isinstance(found, Over)
    assert found.state == "uncertain"


@given(
    agent=st.booleans(),
    status=st.sampled_from(["", "dialing", "ringing", "active"]),
    answered=st.booleans(),
    after_s=st.floats(min_value=0, max_value=1_000),
    agent_at=st.none() | st.floats(min_value=0, max_value=900),
    callee_at=st.none() | st.floats(min_value=0, max_value=900),
    unbroken=st.booleans(),
)
def test_only_what_nobody_was_ever_seen_of_can_be_called_again(  # noqa: PLR0917
    agent: bool,
    status: str,
    answered: bool,
    after_s: float,
    agent_at: float | None,
    callee_at: float | None,
    unbroken: bool,
) -> None:
    there = [*([AGENT] if agent else []), *([callee(status)] if status else [])]
    sight = Sight(
        DIALED_AT,
        None if agent_at is None else DIALED_AT + agent_at,
        None if callee_at is None else DIALED_AT + callee_at,
        unbroken,
    )
    now = DIALED_AT + after_s
    sight = seen(sight, there, "out-1", now)

    found = resolve(there, "out-1", answered=answered, dialed_at=DIALED_AT, sight=sight, now=now)

    if isinstance(found, Over) and found.state == "failed":  # the one that a campaign may repeat
        assert unbroken
        assert not there
        assert sight.agent_at is None
        assert sight.callee_at is None
        assert not answered
