"""The gate: nobody is called who must not be, at no time at which they must not be."""

import random
import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.campaigns.consent import Consent, consents_of
from router.campaigns.gate import (
    GateInputs,
    GateVerdict,
    Spent,
    decide,
    facts_of,
    is_open,
    next_opening,
    read_verdict,
)
from router.campaigns.model import DAYS, Campaign, Window, read_campaign
from router.campaigns.policies import shipped

CHICAGO, BERLIN = "+13125550101", "+4930901820"
CAMPAIGN = read_campaign({"name": "Spring"})
YES = (Consent("calls", 0.0, "form"),)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def budget(**limits: float) -> dict[str, Any]:
    """Give a campaign whose limits of that name are reached."""
    limited = {f"budget_{name}": limit for name, limit in limits.items()}
    spent = Spent(calls=3, calls_in_a_day=2, minutes=12.5, minutes_in_a_day=0.5)
    return {"campaign": read_campaign({"name": "a", **limited}), "spent": spent}


NOON = at("2026-11-20T12:00:00-06:00")  # a Friday, in Chicago


def ask(number: str = CHICAGO, **changed: Any) -> GateVerdict:
    known: dict[str, Any] = {
        "at": NOON,
        "campaign": CAMPAIGN,
        "archived": False,
        "listed": (),
        "consents": YES,
        "called_at": (),
        "spent": Spent(),
        "own_numbers": frozenset(),
    }
    return decide(GateInputs(number=number, **(known | changed)), shipped())


def test_who_may_be_called_is_called_and_the_inputs_are_kept() -> None:
    verdict = ask()

    assert (verdict.allowed, verdict.because) == (True, "allowed")
    assert verdict.inputs["zones"] == ("America/Chicago",)
    assert verdict.inputs["country"] == "US"
    assert verdict.inputs["at"] == NOON


@pytest.mark.parametrize(
    ("number", "because"),
    [
        ("", "not_a_number"),
        ("12", "not_a_number"),
        ("+1 312 555 0101", "not_a_number"),  # not in E.164
        ("+10000000000", "not_a_number"),
        ("+19005551234", "number_type"),  # premium
        ("+18005550101", "number_type"),  # toll-free
        ("+442079460018", "country"),
        ("+18092345678", "country"),  # the Dominican Republic, though it looks like home
        ("+80012345678", "number_type"),
    ],
)
def test_numbers_of_the_wrong_kind_or_country_are_not_called(number: str, because: str) -> None:
    assert ask(number).because == because


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"listed": ("tenant",)}, "do_not_call"),
        ({"listed": None}, "not_known"),
        ({"called_at": None}, "not_known"),
        ({"spent": None}, "not_known"),
        ({"own_numbers": None}, "not_known"),
        ({"archived": None}, "not_known"),
        ({"archived": True}, "campaign_archived"),
        ({"own_numbers": frozenset({CHICAGO})}, "own_number"),
        ({"consents": ()}, "no_consent"),
        ({"consents": (Consent("mail", 0.0, "form"),)}, "no_consent"),
        ({"consents": (Consent("calls", NOON + 1, "form"),)}, "no_consent"),
        ({"consents": (Consent("calls", 0.0, ""),)}, "no_consent"),
        ({"called_at": (NOON - 60,) * 3}, "too_often"),
        ({"called_at": (NOON + 60,) * 3}, "too_often"),
        ({"called_at": tuple(NOON - 86_400 * (1 + n * 0.7) for n in range(7))}, "too_often"),
        ({"timezone": "Mars/Phobos"}, "unknown_time_zone"),
        ({"timezone": "../../etc/passwd"}, "unknown_time_zone"),
        ({"timezone": "Asia/Tokyo"}, "outside_hours"),
        ({"campaign": read_campaign({"name": "a", "budget_calls": 0})}, "over_budget"),
        ({"campaign": read_campaign({"name": "a", "countries": ["DE"]})}, "country"),
        ({"campaign": read_campaign({"name": "a", "consent": "recording"})}, "no_consent"),
        (
            {"campaign": read_campaign({"name": "a", "window": {"opens": "13:00"}})},
            "outside_hours",
        ),
        ({"campaign": read_campaign({"name": "a", "window": {"days": ["mon"]}})}, "outside_hours"),
        (budget(calls=3), "over_budget"),
        (budget(calls_per_day=2), "over_budget"),
        (budget(minutes=12.5), "over_budget"),
        (budget(minutes_per_day=0.5), "over_budget"),
        ({"campaign": None}, "gate_failed"),
        ({"at": float("nan")}, "no_consent"),
        ({"at": 1e18}, "gate_failed"),
    ],
)
def test_each_reason_not_to_call_is_enough(changed: dict[str, Any], because: str) -> None:
    verdict = ask(**changed)

    assert (verdict.allowed, verdict.because) == (False, because)


def test_a_verdict_is_written_down_with_its_inputs_and_read_again() -> None:
    for verdict in (ask(), ask(timezone="Asia/Tokyo"), ask(campaign=None), ask(at=float("nan"))):
        again = read_verdict(verdict.as_json())

        assert again.as_json() == verdict.as_json()
        assert (again.allowed, again.because) == (verdict.allowed, verdict.because)


def test_a_country_without_rules_of_its_own_gets_the_strict_ones() -> None:
    campaign = read_campaign({"name": "a", "countries": ["GB"]})
    sunday = at("2026-11-22T12:00:00+00:00")

    assert ask("+442079460018", campaign=campaign, at=sunday - 86_400).allowed
    assert ask("+442079460018", campaign=campaign, at=sunday).because == "outside_hours"


@pytest.mark.parametrize(
    ("moment", "allowed"),
    [
        ("2026-11-20T07:59:59+01:00", False),
        ("2026-11-20T08:00:00+01:00", True),
        ("2026-11-20T19:59:59+01:00", True),
        ("2026-11-20T20:00:00+01:00", False),
        ("2026-11-22T12:00:00+01:00", False),  # a Sunday
        ("2026-03-28T08:30:00+01:00", True),
        ("2026-03-30T07:30:00+02:00", False),  # the clocks have gone forward
        ("2026-03-30T08:00:00+02:00", True),
        ("2026-10-26T07:30:00+01:00", False),  # and back
    ],
)
def test_the_hours_are_those_of_the_clock_on_their_wall(moment: str, allowed: bool) -> None:
    assert ask(BERLIN, at=at(moment)).allowed is allowed


def test_a_number_that_may_be_in_several_zones_is_called_when_all_of_them_are_open() -> None:
    russian = "+78001234567"
    zones = ("America/New_York", "America/Los_Angeles")
    window = (Window(opens="08:00", closes="21:00"),)

    assert not is_open(at("2026-11-20T09:00:00-05:00"), zones, window)
    assert is_open(at("2026-11-20T08:00:00-08:00"), zones, window)
    assert not is_open(at("2026-11-20T18:30:00-08:00"), zones, window)
    assert not is_open(at("2026-11-20T12:00:00-08:00"), (), window)
    assert facts_of(russian).kind != "callable"


@given(
    moment=st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
    zones=st.lists(
        st.sampled_from(
            ["Europe/Berlin", "America/Chicago", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]
        ),
        min_size=1,
        max_size=3,
    ),
    opens=st.integers(0, 22),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
)
def test_the_next_opening_is_the_first_moment_that_is_open(
    moment: datetime, zones: list[str], opens: int, days: set[Any]
) -> None:
    start = moment.replace(tzinfo=UTC).timestamp()
    windows = (
        Window(days=tuple(days), opens=f"{opens:02}:00", closes="23:30"),
        Window(opens="08:00", closes="21:00"),
    )

    following = next_opening(start, zones, windows)

    steps = (start + 900 * step for step in range(1, 7 * 96))
    first_seen = next((one for one in steps if is_open(one, zones, windows)), None)
    if following is not None:
        assert is_open(following, zones, windows)
    if first_seen is not None and not is_open(start, zones, windows):
        assert following is not None
        assert start < following <= first_seen


def test_consent_says_what_when_and_from_where() -> None:
    whole = {"consent": "Calls; recording", "consent_at": "2026-01-02", "consent_source": "form"}

    assert [one.what for one in consents_of(whole)] == ["calls", "recording"]
    for name in whole:
        assert consents_of({**whole, name: ""}) == ()
    assert consents_of({**whole, "consent_at": "yesterday"}) == ()


def test_of_100_000_checks_none_lets_a_call_out_that_must_not_be() -> None:
    chance = random.Random(7)  # noqa: S311
    numbers = [f"+1{area}555{n:04}" for area in (212, 312, 303, 415) for n in range(100, 200)]
    numbers += [f"+4930{n}" for n in range(901820, 901920)]
    zone_of = {"212": "America/New_York", "312": "America/Chicago", "303": "America/Denver"}
    campaign: Campaign = read_campaign({"name": "a", "budget_calls": 500})
    began, allowed = time.process_time(), 0

    for _ in range(100_000):
        number = chance.choice(numbers)
        moment = chance.uniform(1_767_225_600, 1_798_761_600)  # in 2026
        asked = GateInputs(
            number=number,
            at=moment,
            campaign=campaign,
            archived=chance.random() < 0.05,
            listed=chance.choice([(), (), (), (), ("tenant",), None]),
            consents=YES if chance.random() < 0.8 else (),
            called_at=[moment - chance.uniform(0, 1e6) for _ in range(chance.randrange(4))],
            spent=Spent(calls=chance.randrange(600)),
            own_numbers=frozenset(numbers[:3]),
        )
        if not decide(asked, shipped()).allowed:
            continue
        allowed += 1
        german = number.startswith("+49")
        name = "Europe/Berlin" if german else zone_of.get(number[2:5], "America/Los_Angeles")
        local = datetime.fromtimestamp(moment, ZoneInfo(name))
        recent = [one for one in asked.called_at or () if moment - one < 86_400]
        assert 8 <= local.hour < (20 if german else 21)
        assert not german or local.weekday() < 6
        assert asked.listed == ()
        assert asked.consents
        assert len(recent) < (1 if german else 3)
        assert asked.spent is not None
        assert asked.spent.calls < 500
        assert not asked.archived
        assert number not in numbers[:3]

    assert allowed > 5_000
    assert time.process_time() - began < 60
