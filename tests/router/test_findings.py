"""The rules over fetched configuration, one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from livekit.protocol.sip import (
    SIPDispatchRule,
    SIPDispatchRuleDirect,
    SIPDispatchRuleIndividual,
    SIPDispatchRuleInfo,
    SIPInboundTrunkInfo,
)

from router import findings
from router.findings import Check, Refusals, Sought, last_resort
from router.routing import NumberingPlan

US, BERLIN = "+13125550100", "+4930901820"
PLAN = NumberingPlan(default_region="US", region_by_trunk={"ST_de": "DE"})
NOW = 1_800_000_000.0
INDIVIDUAL = SIPDispatchRule(dispatch_rule_individual=SIPDispatchRuleIndividual(room_prefix="c-"))
WITH_PIN = SIPDispatchRule(
    dispatch_rule_individual=SIPDispatchRuleIndividual(room_prefix="c-", pin="1234")
)


def rule(
    rule_id: str = "SDR_1", kind: SIPDispatchRule = INDIVIDUAL, **f: Any
) -> SIPDispatchRuleInfo:
    return SIPDispatchRuleInfo(sip_dispatch_rule_id=rule_id, rule=kind, **f)


def trunk(trunk_id: str, *numbers: str, **fields: Any) -> SIPInboundTrunkInfo:
    return SIPInboundTrunkInfo(sip_trunk_id=trunk_id, numbers=numbers, **fields)


def levels(checks: Sequence[Check]) -> list[str]:
    assert all(bool(check.fix) == (check.level != "ok") for check in checks)
    return [check.level for check in checks]


def number_rules(rules: Sequence[SIPDispatchRuleInfo], *trunks: SIPInboundTrunkInfo) -> list[Check]:
    return findings.number_rules(rules, trunks, PLAN)


def test_no_rules_and_shared_rooms_and_one_room_for_each_call() -> None:
    lobby = SIPDispatchRule(dispatch_rule_direct=SIPDispatchRuleDirect(room_name="lobby"))

    assert levels(findings.rules([])) == ["warning"]
    assert levels(findings.rules([rule(kind=lobby)])) == ["error"]
    assert levels(findings.rules([rule()])) == ["ok"]


def test_a_rule_for_every_call_depends_on_no_notation() -> None:
    assert levels(number_rules([rule()], trunk("ST_1", US), trunk("ST_2"))) == ["ok"]


def test_a_rule_that_lists_numbers_is_a_warning_even_if_its_trunk_writes_them_so() -> None:
    checks = number_rules([rule(numbers=[US])], trunk("ST_1", US))

    assert levels(checks) == ["warning"]
    assert "exactly" in checks[0].said


def test_a_rule_that_writes_a_number_otherwise_than_its_trunk_is_an_error() -> None:
    [check] = number_rules([rule(numbers=["13125550100"])], trunk("ST_1", US))

    assert check.level == "error"
    assert f"its trunk writes {US}" in check.said


@pytest.mark.parametrize("trunk_ids", [[], ["ST_1"]])
def test_a_rule_for_every_call_behind_it_makes_that_a_warning(trunk_ids: list[str]) -> None:
    scoped = rule(numbers=["13125550100"], trunk_ids=["ST_1"])

    checks = number_rules([scoped, rule("SDR_2", trunk_ids=trunk_ids)], trunk("ST_1", US))

    assert levels(checks) == ["warning"]


@pytest.mark.parametrize("behind", [rule("SDR_2", WITH_PIN), rule("SDR_2", trunk_ids=["ST_other"])])
def test_a_rule_with_a_pin_or_of_another_trunk_is_not_behind_it(
    behind: SIPDispatchRuleInfo,
) -> None:
    scoped = rule(numbers=["13125550100"], trunk_ids=["ST_1"])

    checks = number_rules([scoped, behind], trunk("ST_1", US))

    assert "error" in levels(checks)


def test_a_rule_that_lists_both_notations_is_a_warning() -> None:
    assert levels(number_rules([rule(numbers=[US, US[1:]])], trunk("ST_1", US))) == ["warning"]


def test_a_rule_that_lists_callers_is_a_warning() -> None:
    [check] = number_rules([rule(inbound_numbers=[BERLIN])], trunk("ST_1", US))

    assert check.level == "warning"
    assert "withheld" in check.said


def test_a_number_of_a_trunk_that_no_rule_takes_is_an_error() -> None:
    checks = number_rules([rule(numbers=[US])], trunk("ST_1", US, "+13125550101"))

    assert levels(checks) == ["warning", "error"]
    assert "no rule takes +13125550101 of ST_1" in checks[1].said


def test_trunk_numbers_in_national_notation_and_unreadable_ones_are_warnings() -> None:
    trunks = [trunk("ST_1", US, "49 30 901820"), trunk("ST_de", "030 901820", "lobby")]

    unread, national = findings.trunk_numbers(trunks, PLAN)

    assert (unread.level, national.level) == ("warning", "warning")
    assert "ST_de lists lobby" in unread.said
    assert "ST_de lists 030 901820" in national.said


def test_a_national_number_beside_its_e164_form_is_well() -> None:
    trunks = [trunk("ST_de", "030901820", BERLIN), trunk("ST_1", "1 (312) 555-0100")]

    assert levels(findings.trunk_numbers(trunks, PLAN)) == ["ok"]


def test_one_number_in_two_trunks_is_an_error_in_any_notation() -> None:
    [check] = findings.trunk_owners([trunk("ST_1", BERLIN), trunk("ST_de", "030901820")], PLAN)

    assert check.level == "error"
    assert check.said == f"ST_1 and ST_de both have {BERLIN}"


def test_two_trunks_for_any_number_are_an_error() -> None:
    assert levels(findings.trunk_owners([trunk("ST_1"), trunk("ST_2")], PLAN)) == ["error"]


@pytest.mark.parametrize("field", ["allowed_addresses", "allowed_numbers"])
def test_trunks_that_are_told_apart_may_share_a_number(field: str) -> None:
    one = trunk("ST_1", US, **{field: ["192.0.2.1"]})

    apart = [one, trunk("ST_2", US, **{field: ["192.0.2.2"]})]
    overlapping = [one, trunk("ST_2", US, **{field: ["192.0.2.1"]})]

    assert levels(findings.trunk_owners(apart, PLAN)) == ["ok"]
    assert levels(findings.trunk_owners(overlapping, PLAN)) == ["error"]


def test_a_trunk_for_any_number_beside_one_for_a_number_is_well() -> None:
    assert levels(findings.trunk_owners([trunk("ST_1", US), trunk("ST_2")], PLAN)) == ["ok"]


def files(*names: str, trunks: Sequence[SIPInboundTrunkInfo] = ()) -> list[Check]:
    return findings.persona_files(names, trunks, PLAN)


def test_files_of_numbers_the_house_and_campaigns_are_well() -> None:
    names = (f"{US}.yaml", f"{BERLIN[1:]}.json", "house.yaml", "sales.yaml", "notes.txt")

    [check] = files(*names, trunks=[trunk("ST_1", US, BERLIN)])

    assert (check.level, check.said) == ("ok", "2 of numbers")


@pytest.mark.parametrize("name", ["3125550100.yaml", "12.yaml"])
def test_a_file_whose_name_is_not_e164_is_a_warning(name: str) -> None:
    [check] = files(name)

    assert check.level == "warning"
    assert name in check.said


def test_two_files_of_one_number_are_an_error() -> None:
    [check] = files(f"{US}.yaml", f"{US[1:]}.yml")

    assert check.level == "error"
    assert f"{US}.yaml, {US[1:]}.yml" in check.said


def test_a_file_whose_number_is_on_no_trunk_is_a_warning_where_trunks_list_theirs() -> None:
    name = f"{US}.yaml"

    assert levels(files(name, trunks=[trunk("ST_1", BERLIN)])) == ["warning"]
    assert levels(files(name, trunks=[trunk("ST_1", BERLIN), trunk("ST_2")])) == ["ok"]
    assert levels(files(name)) == ["ok"]


def test_orphans_are_named_up_to_five() -> None:
    numbers = [f"+131255501{last:02}" for last in range(7)]

    [check] = findings.orphans(Sought(numbers, asked=9))

    assert check.level == "warning"
    assert numbers[4] in check.said
    assert "and 2 more" in check.said
    assert numbers[5] not in check.said


def test_numbers_that_the_api_could_not_tell_of_are_no_orphans() -> None:
    [check] = findings.orphans(Sought([], asked=3, untold=2))

    assert check.level == "ok"
    assert "could not tell for 2" in check.said


@pytest.mark.parametrize(
    ("accepted", "last_at", "expected"),
    [
        pytest.param(0, {}, ["ok"], id="quiet"),
        pytest.param(0, {"unknown_key": NOW - 10}, ["error"], id="never-worked"),
        pytest.param(5, {"bad_signature": NOW - 10}, ["warning"], id="some-do"),
        pytest.param(0, {"unknown_key": NOW - 7200}, ["ok"], id="long-ago"),
        pytest.param(0, {"expired": NOW - 10}, ["ok"], id="another-reason"),
        pytest.param(0, {"unknown_key": NOW, "bad_signature": NOW}, ["error", "error"], id="both"),
    ],
)
def test_deliveries_refused_for_their_key(
    accepted: int, last_at: Mapping[str, float], expected: list[str]
) -> None:
    assert levels(findings.webhook_keys(Refusals(accepted, last_at), NOW)) == expected


def test_without_a_router_to_ask_nothing_is_said_of_keys() -> None:
    assert levels(findings.webhook_keys(None, NOW)) == ["ok"]


@pytest.mark.parametrize(
    ("places", "extra", "number", "level"),
    [
        (0, False, "", "ok"),
        (0, True, "+13125550188", "ok"),
        (4, False, "", "warning"),
        (4, False, "+13125550188", "error"),
        (4, True, "", "ok"),
        (4, True, "+13125550188", "ok"),
        (4, True, "sip:desk@example.com", "ok"),
        (4, True, "+999999999", "error"),
    ],
)
def test_what_a_caller_gets_whom_no_agent_answers(
    places: int, extra: bool, number: str, level: str
) -> None:
    [check] = last_resort(places=places, extra=extra, number=number)

    assert check.level == level
    assert bool(check.fix) == (level != "ok")
    assert not number or number not in check.said
