"""What a room needs: every rule of the watch, without a room."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.recovery import (
    Action,
    Adopt,
    Confirm,
    EndRoom,
    GiveUp,
    Limits,
    Means,
    Ourselves,
    Redispatch,
    Seen,
    Wait,
    Watched,
    Well,
    assess,
    look_at,
    mismatched,
)
from router.routing import Participant

LIMITS = Limits()
ALONE = Means()
NOW = 1_800_000_000.0
CALLER = Participant("PA_1", "sip_1", "SIP", {"sip.ruleID": "SDR_1"})
OUTBOUND = Participant("PA_2", "sip_2", "SIP", {})
CLAIM = Watched("call-1", "RM_1", "call-1", "dispatched", 1, 0, NOW + 6, NOW)


def agent(beat: str = "1", identity: str = "agent-1") -> Participant:
    return Participant("PA_3", identity, "AGENT", {"persona.beat": beat} if beat else {})


def action(
    looks: Sequence[tuple[float, Sequence[Participant]]],
    claim: Watched | None = CLAIM,
    *,
    means: Means = ALONE,
) -> Action:
    """What is to be done after *looks* at a room, each at its second."""
    seen: Seen | None = None
    for at, participants in looks:
        look = look_at(participants, seen, at=at, now=NOW + at)
        seen = look.seen
    return assess(look, claim, LIMITS, means)


def of(state: Any, **changed: Any) -> Watched:
    return replace(CLAIM, state=state, **changed)


def test_a_caller_without_a_claim_is_adopted_once_the_webhook_has_had_its_time() -> None:
    assert action([(0.0, [CALLER])], None) == Wait()
    assert action([(0.0, [CALLER]), (0.8, [CALLER])], None) == Adopt(CALLER)


@pytest.mark.parametrize("participants", [[], [OUTBOUND], [OUTBOUND, agent()], [agent()]], ids=str)
def test_a_room_that_is_no_call_of_ours_is_left_alone(participants: list[Participant]) -> None:
    assert action([(0.0, participants), (60.0, participants)], None) == Well()


def test_a_caller_whom_another_dispatch_answers_is_left_alone() -> None:
    there = [CALLER, agent(beat="")]

    assert action([(0.0, there), (60.0, there)], None) == Well()


def test_an_agent_in_the_room_confirms_the_dispatch() -> None:
    for state in ("dispatched", "unknown", "released"):
        claim = of(state)
        assert action([(1.0, [CALLER, agent()])], claim) == Confirm(claim)


def test_a_confirmed_call_with_a_living_agent_is_well() -> None:
    looks = [(second, [CALLER, agent(str(second))]) for second in (0.0, 2.0, 4.0, 6.0, 8.0)]

    assert action(looks, of("answered")) == Well()


@pytest.mark.parametrize("state", ["dispatched", "unknown"])
def test_no_agent_in_time_means_another_attempt(state: str) -> None:
    claim = of(state)

    assert action([(2.9, [CALLER])], claim) == Wait()
    assert action([(3.0, [CALLER])], claim) == Redispatch(claim, CALLER, "no agent has come")


def test_each_failure_is_waited_for_longer() -> None:
    claim = of("dispatched", failures=2)

    assert action([(5.9, [CALLER])], claim) == Wait()
    assert isinstance(action([(6.0, [CALLER])], claim), Redispatch)


def test_a_released_claim_is_tried_again_at_once() -> None:
    assert isinstance(action([(0.0, [CALLER])], of("released")), Redispatch)


def test_a_claim_is_left_to_its_owner_until_the_lease_ends() -> None:
    claim = of("claimed")

    assert action([(5.9, [CALLER])], claim) == Wait()
    assert isinstance(action([(6.0, [CALLER])], claim), Redispatch)


def test_after_five_attempts_the_ringing_is_ended() -> None:
    claim = of("dispatched", failures=4)

    assert isinstance(action([(60.0, [CALLER])], claim), GiveUp)


def test_before_that_the_fallback_agent_gets_its_turn() -> None:
    fifth, sixth = of("dispatched", failures=4), of("dispatched", failures=5)

    last = action([(60.0, [CALLER])], fifth, means=Means(fallback_agent=True))

    assert isinstance(last, Redispatch)
    assert last.fallback
    assert isinstance(action([(60.0, [CALLER])], sixth, means=Means(fallback_agent=True)), GiveUp)


@pytest.mark.parametrize("fallback", [True, False])
def test_the_router_itself_comes_after_every_agent_and_once(fallback: bool) -> None:
    means = Means(fallback_agent=fallback, last_resort=True)
    taken = [
        action([(60.0, [CALLER])], of("dispatched", failures=failures), means=means)
        for failures in range(4, 8)
    ]

    names = [type(one).__name__ for one in taken]
    first = ["Redispatch", "Ourselves"] if fallback else ["Ourselves", "GiveUp"]
    assert names == [*first, "GiveUp", "GiveUp"]


def test_the_router_itself_never_comes_while_an_agent_is_there() -> None:
    claim = of("dispatched", failures=4)

    assert action([(60.0, [CALLER, agent()])], claim, means=Means(last_resort=True)) == Confirm(
        claim
    )


def test_what_livekit_refused_is_tried_again_less_and_less_often() -> None:
    def tried_after(failures: int) -> float:
        claim = of("released", failures=failures)
        return next(
            at / 2
            for at in range(60)
            if isinstance(action([(at / 2, [CALLER])], claim), Redispatch)
        )

    assert [tried_after(failures) for failures in range(4)] == [0.0, 1.5, 3.0, 4.5]


def test_a_caller_who_has_been_spoken_to_hears_of_the_cut_off_from_every_further_agent() -> None:
    active = CALLER._replace(attributes={"sip.ruleID": "SDR_1", "sip.callStatus": "active"})

    again = action([(60.0, [active])], of("dispatched", failures=1))

    assert isinstance(again, Redispatch)
    assert again.resume


SENT = of("answered", persona_version="sha256:sent")


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({}, True),
        ({"persona.version": "sha256:sent"}, False),  # the house persona was sent
        ({"persona.origin": "api"}, False),  # a persona that was changed during the call
        ({"persona.attempt": "2"}, False),  # another dispatch than the claim knows of
        ({"persona.call": "call-2"}, False),
    ],
)
def test_an_agent_that_takes_its_persona_for_anothers_is_told(
    attributes: dict[str, str], told: bool
) -> None:
    shown = {
        "persona.call": "call-1",
        "persona.attempt": "1",
        "persona.origin": "house",
        "persona.version": "sha256:house",
        **attributes,
    }
    there = Participant("PA_3", "agent-1", "AGENT", shown)

    look = look_at([CALLER, there], None, at=1.0, now=NOW)

    assert mismatched(look, SENT) == (("agent-1",) if told else ())
    assert mismatched(look, replace(SENT, persona_version=None)) == ()


def test_an_agent_that_has_left_its_caller_is_replaced_after_three_seconds() -> None:
    claim = of("answered")
    left = [(0.0, [CALLER, agent()]), (1.0, [CALLER])]

    assert action([*left, (3.9, [CALLER])], claim) == Wait()
    replaced = action([*left, (4.0, [CALLER])], claim)
    assert replaced == Redispatch(claim, CALLER, "the agent has left the caller", resume=True)


def test_an_agent_that_comes_back_in_time_is_not_replaced() -> None:
    there, away = [CALLER, agent()], [CALLER]

    assert action([(0.0, there), (1.0, away), (2.0, there), (5.0, away)], of("answered")) == Wait()


def test_an_agent_without_a_sign_of_life_is_removed_and_replaced() -> None:
    claim = of("answered")
    frozen = [(0.0, [CALLER, agent("7")]), (5.9, [CALLER, agent("7")])]

    assert action(frozen, claim) == Wait()
    replaced = action([*frozen, (6.0, [CALLER, agent("7")])], claim)
    assert isinstance(replaced, Redispatch)
    assert (replaced.remove, replaced.resume) == (("agent-1",), True)


def test_an_agent_whose_sign_of_life_is_due_is_looked_at_in_every_sweep() -> None:
    there = [CALLER, agent("7")]

    assert action([(0.0, there), (1.4, there)], of("answered")) == Well()
    assert action([(0.0, there), (1.6, there)], of("answered")) == Wait()
    assert action([(0.0, there), (1.6, [CALLER, agent("8")])], of("answered")) == Well()


def test_an_agent_that_never_gave_a_sign_of_life_is_not_taken_for_dead() -> None:
    looks = [(second, [CALLER, agent("")]) for second in (0.0, 30.0, 60.0)]

    assert action(looks, of("answered")) == Well()


def test_a_frozen_agent_beside_a_living_one_is_left_to_the_election() -> None:
    looks = [
        (second, [CALLER, agent("7", "frozen"), agent(str(second), "living")])
        for second in (0.0, 4.0, 8.0)
    ]

    assert action(looks, of("answered")) == Well()


def test_nobody_is_sent_to_a_caller_who_is_gone_and_the_room_is_ended() -> None:
    for state in ("claimed", "dispatched", "unknown", "released", "answered"):
        claim = of(state)
        for left in ([], [agent()]):
            assert action([(0.0, left), (9.9, left)], claim) == Wait()
            ended = action([(0.0, left), (10.0, left)], claim)
            assert ended == EndRoom(claim, "the caller is gone")


participants = st.lists(
    st.sampled_from([CALLER, OUTBOUND, agent("1"), agent("2"), agent(""), agent("1", "agent-2")]),
    max_size=4,
)
looks = st.lists(st.tuples(st.floats(0, 30), participants), min_size=1, max_size=8).map(
    lambda found: sorted(found, key=lambda look: look[0])
)
states = st.sampled_from(["claimed", "released", "dispatched", "unknown", "answered"])


@given(
    looks=looks,
    state=st.none() | states,
    failures=st.integers(0, 7),
    means=st.builds(Means, fallback_agent=st.booleans(), last_resort=st.booleans()),
)
def test_whatever_is_seen_an_agent_is_sent_only_to_a_caller_who_is_there(
    looks: list[tuple[float, list[Participant]]],
    state: str | None,
    failures: int,
    means: Means,
) -> None:
    claim = of(state, failures=failures) if state else None

    chosen = action(looks, claim, means=means)

    there = looks[-1][1]
    if isinstance(chosen, Adopt | Redispatch | Ourselves | GiveUp):
        assert chosen.caller in there
    if isinstance(chosen, Ourselves):
        assert not [one for one in there if one.kind == "AGENT"]
    if isinstance(chosen, Redispatch):
        living = {one.identity for one in there if one.kind == "AGENT"} - set(chosen.remove)
        assert not living
    if isinstance(chosen, EndRoom):
        assert CALLER not in there
