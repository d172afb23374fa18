"""What became of a call that was dialed, by what can be seen of it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.campaigns.resolution import (
    ALONE_S,
    LONGEST_RING_S,
    NOBODY_S,
    REPORT_S,
    Over,
    PickedUp,
    Sight,
    Wait,
    resolve,
    seen,
)
from router.routing import Participant

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
