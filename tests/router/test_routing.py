"""The decision: which number was called, and does that call need an agent?"""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.events import verify
from router.routing import (
    NO_ROOM,
    NOT_A_JOIN,
    NOT_INBOUND,
    NOT_SIP,
    Answer,
    Event,
    Ignore,
    NumberingPlan,
    Participant,
    Refuse,
    decide,
)
from tests.samples import KEY, SECRET, deliveries

US = NumberingPlan(default_region="US")
ATTRIBUTES = {
    "sip.ruleID": "SDR_1",
    "sip.trunkID": "ST_1",
    "sip.callID": "SCL_1",
    "sip.phoneNumber": "+13125550100",
    "sip.trunkPhoneNumber": "8655701159",
    "sip.callStatus": "ringing",
}


def joined(
    attributes: Mapping[str, str] = ATTRIBUTES, *, kind: str = "SIP", without: str = ""
) -> Event:
    kept = {name: value for name, value in attributes.items() if name != without}
    return Event(
        event_id="EV_1",
        name="participant_joined",
        created_at=0.0,
        room="call-1",
        room_sid="RM_1",
        participant=Participant(sid="PA_1", identity="sip_1", kind=kind, attributes=kept),
    )


def answered(event: Event, plan: NumberingPlan = US) -> Answer:
    decision = decide(event, plan)
    assert isinstance(decision, Answer)
    return decision


def test_a_ringing_caller_is_answered_for_the_dialed_number() -> None:
    call = answered(joined()).call

    assert call.dialed.number is not None
    assert call.dialed.number.e164 == "+18655701159"
    assert call.dialed.dialed_as == "8655701159"
    assert call.caller == "+13125550100"
    assert (call.room, call.room_sid, call.sip_call_id) == ("call-1", "RM_1", "SCL_1")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(joined()._replace(name="participant_left"), NOT_A_JOIN, id="left"),
        pytest.param(joined()._replace(name="moon_risen"), NOT_A_JOIN, id="unknown-event"),
        pytest.param(joined(kind="AGENT"), NOT_SIP, id="agent"),
        pytest.param(joined(kind="STANDARD"), NOT_SIP, id="browser"),
        pytest.param(joined()._replace(participant=None), NOT_SIP, id="nobody"),
        pytest.param(joined(without="sip.ruleID"), NOT_INBOUND, id="outbound-leg"),
        pytest.param(joined()._replace(room=""), NO_ROOM, id="no-room"),
        pytest.param(joined()._replace(room_sid=""), NO_ROOM, id="no-room-sid"),
    ],
)
def test_everything_else_gets_no_agent(event: Event, expected: Ignore | Refuse) -> None:
    assert decide(event, US) == expected


def test_a_trunk_may_have_a_region_of_its_own() -> None:
    plan = NumberingPlan(default_region="US", region_by_trunk={"ST_1": "DE"})
    event = joined({**ATTRIBUTES, "sip.trunkPhoneNumber": "030 901820"})

    number = answered(event, plan).call.dialed.number

    assert number is not None
    assert number.e164 == "+4930901820"


def test_a_hidden_number_is_settled_by_its_trunk() -> None:
    plan = NumberingPlan(number_by_trunk={"ST_1": "+4930901820"})

    answer = answered(joined(without="sip.trunkPhoneNumber"), plan)

    assert answer.call.dialed.number is not None
    assert answer.call.dialed.number.e164 == "+4930901820"
    assert "trunk" in answer.because


@pytest.mark.parametrize("known", [{}, {"ST_2": "+4930901820"}, {"ST_1": "nonsense"}])
def test_a_hidden_number_that_nothing_settles_is_unknown(known: dict[str, str]) -> None:
    answer = answered(joined(without="sip.trunkPhoneNumber"), NumberingPlan(number_by_trunk=known))

    assert answer.call.dialed.number is None
    assert answer.because == "the number is hidden, and its trunk does not settle it"


@pytest.mark.parametrize("raw", ["101", "sales", "+", "0" * 40, "911"])
def test_an_impossible_number_is_unknown_and_never_another_number(raw: str) -> None:
    answer = answered(joined({**ATTRIBUTES, "sip.trunkPhoneNumber": raw}))

    assert answer.call.dialed.number is None
    assert answer.call.dialed.dialed_as == raw


def test_a_withheld_caller_is_none() -> None:
    assert answered(joined(without="sip.phoneNumber")).call.caller is None


def test_a_caller_who_is_no_number_is_kept_as_written() -> None:
    event = joined({**ATTRIBUTES, "sip.phoneNumber": "anonymous"})

    assert answered(event).call.caller == "anonymous"


def test_of_the_recorded_deliveries_just_the_three_inbound_callers_are_answered() -> None:
    decisions = [
        decide(verify(d.authorization, d.body, d.received_at, {KEY: SECRET}), US)
        for name in ("livekit_deliveries", "sip_outbound_deliveries")
        for d in deliveries(name)
    ]

    dialed = [d.call.dialed.dialed_as for d in decisions if isinstance(d, Answer)]
    assert sorted(dialed) == ["", "+18655701160", "8655701159"]


@given(
    attributes=st.dictionaries(st.sampled_from(sorted(ATTRIBUTES)) | st.text(), st.text()),
    kind=st.sampled_from(["SIP", "AGENT", "STANDARD", ""]),
)
def test_a_decision_is_made_whatever_the_attributes(attributes: dict[str, str], kind: str) -> None:
    decision = decide(joined(attributes, kind=kind), US)

    assert decision.because
    assert isinstance(decision, Answer) == (kind == "SIP" and bool(attributes.get("sip.ruleID")))
