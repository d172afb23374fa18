"""Whether to dial, whom, and over which trunk."""

from typing import Any

import pytest

from agent.brief import Brief
from agent.outbound import GRACE_S, Await, Dial, Refuse, plan
from personas.contract import CallConfig, DialOrder, Origin
from personas.dispositions import Disposition

NUMBER = "+12125550147"


def planned(
    attempt: int = 1, default_trunk: str | None = None, now: float = 100.0, **known: Any
) -> object:
    return plan(Brief(**known), attempt=attempt, default_trunk=default_trunk, now=now)


ORDER = DialOrder(
    number=NUMBER,
    trunk_id="ST_order",
    identity="out-abc",
    caller_number="+14155550100",
    not_after=120.0,
)


def ordered(order: DialOrder = ORDER) -> CallConfig:
    return CallConfig(
        call_id="abc",
        direction="outbound",
        room="out-abc",
        origin=Origin(source="house", version="sha256:0", because="test"),
        dial=order,
    )


def test_an_order_of_our_router_says_whom_from_which_number_and_as_whom() -> None:
    assert planned(call=ordered(), default_trunk="ST_ours") == Dial(
        NUMBER, "ST_order", "out-abc", caller_number="+14155550100"
    )


def test_an_order_that_comes_too_late_is_not_dialed() -> None:
    late = planned(call=ordered(), now=120.1)

    assert isinstance(late, Refuse)
    assert late.outcome.disposition is Disposition.FAILED


def test_an_order_is_dialed_by_the_first_agent_alone() -> None:
    assert isinstance(planned(attempt=2, call=ordered()), Await)


def test_an_order_without_a_trunk_takes_the_agents_own() -> None:
    bare = ORDER.model_copy(update={"trunk_id": None, "caller_number": None})

    assert planned(call=ordered(bare), default_trunk="ST_ours") == Dial(
        NUMBER, "ST_ours", "out-abc"
    )
    assert isinstance(planned(call=ordered(bare)), Refuse)


def test_a_job_without_a_number_is_no_call_to_dial() -> None:
    assert planned() is None


def test_the_jobs_trunk_wins_over_the_operators() -> None:
    assert planned(phone_number=NUMBER, trunk_id="ST_job", default_trunk="ST_ours") == Dial(
        NUMBER, "ST_job", "out-1"
    )
    assert planned(phone_number=NUMBER, default_trunk="ST_ours") == Dial(NUMBER, "ST_ours", "out-1")


def test_without_any_trunk_the_error_says_what_to_set() -> None:
    refused = planned(phone_number=NUMBER)

    assert isinstance(refused, Refuse)
    assert refused.outcome.disposition is Disposition.FAILED
    assert "SIP_TRUNK_ID" in refused.fix


def test_who_may_have_dialed_already_is_given_a_moment() -> None:
    dial = planned(phone_number=NUMBER, default_trunk="ST_ours", others_may_dial=True)

    assert dial == Dial(NUMBER, "ST_ours", "out-1", GRACE_S)


@pytest.mark.parametrize(("number", "trunk"), [(NUMBER, None), ("anonymous", "ST_ours")])
def test_who_dials_alone_is_waited_for_where_we_cannot_dial(number: str, trunk: str | None) -> None:
    awaited = planned(phone_number=number, default_trunk=trunk, others_may_dial=True)

    assert isinstance(awaited, Await)
    assert awaited.outcome.disposition is Disposition.NO_ANSWER


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_call_that_may_have_been_dialed_is_never_dialed_again(attempt: int) -> None:
    origin = Origin(source="house", version="sha256:0", because="made up")
    call = CallConfig(call_id="c", room="r", origin=origin, resume=attempt == 1)

    looked = planned(attempt, "ST_ours", phone_number=NUMBER, call=call)

    assert isinstance(looked, Await)
    assert looked.outcome.disposition is Disposition.UNCERTAIN


@pytest.mark.parametrize(
    ("written", "dialed"),
    [
        ("+12125550147", "+12125550147"),
        ("(212) 555-0147", "2125550147"),
        ("+49 30 901820", "+4930901820"),
        ("0049/30.901820", "004930901820"),
    ],
)
def test_a_number_is_dialed_without_its_marks(written: str, dialed: str) -> None:
    dial = planned(phone_number=written, default_trunk="ST_1")

    assert isinstance(dial, Dial)
    assert dial.number == dialed


@pytest.mark.parametrize(
    "written", ["911", "112", "call me", "+1212555014700000", "sip:a@b", "+", "1;2", "١٢٣٤٥٦٧"]
)
def test_what_is_no_number_is_not_dialed(written: str) -> None:
    refused = planned(phone_number=written, default_trunk="ST_1")

    assert isinstance(refused, Refuse)
    assert refused.outcome.disposition is Disposition.INVALID_NUMBER
