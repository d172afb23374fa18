"""May this number be called now? The last question before a dial. Pure: no I/O, no clock.

It fails closed: what is not known, or goes wrong, is a no. It neither dials nor counts; whoever
does gives what is known, and the verdict comes with its inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import PhoneNumberType, shortnumberinfo
from phonenumbers.timezone import time_zones_for_number

from router.campaigns.consent import Consent
from router.campaigns.model import DAYS, Campaign, Window
from router.campaigns.policy import Policy

DAY_S: Final = 86_400.0
LOOK_AHEAD_DAYS: Final = 9

Because: TypeAlias = Literal[
    "allowed",
    "not_a_number",
    "emergency",
    "number_type",
    "own_number",
    "country",
    "do_not_call",
    "no_consent",
    "too_often",
    "outside_hours",
    "unknown_time_zone",
    "campaign_archived",
    "over_budget",
    "not_known",
    "gate_failed",
]

_CALLABLE: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """All that the answer depends on; ``None`` is what could not be found out."""

    number: str  # E.164
    at: float  # Unix seconds
    campaign: Campaign
    archived: bool | None
    timezone: str = ""  # the lead's own; it wins over what the number says
    listed: bool | None  # on a do-not-call list that counts here
    consents: Sequence[Consent] = ()
    called_at: Sequence[float] | None  # earlier calls to this person, of all campaigns
    calls_made: int | None  # by this campaign
    own_numbers: frozenset[str] | None  # numbers of ours


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and what it rests on."""

    allowed: bool
    because: Because
    inputs: Mapping[str, object] = field(default_factory=dict)
    next_at: float | None = None  # Unix seconds: when the hours allow it, if hours are the reason


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What a number says about itself."""

    country: str | None
    kind: Literal["callable", "emergency", "other", "none"]
    zones: tuple[str, ...]  # each in which it may be; empty: unknown


def decide(question: Question, policies: Mapping[str, Policy]) -> Verdict:
    """Answer, never raising; *policies* are by country in lower case, with ``default``."""
    try:
        return _decide(question, policies)
    except Exception as exc:  # noqa: BLE001  # whatever is wrong, nobody is called
        return Verdict(False, "gate_failed", {"error": type(exc).__name__})


def _decide(question: Question, policies: Mapping[str, Policy]) -> Verdict:
    facts = facts_of(question.number)
    policy = policies.get((facts.country or "").lower(), policies["default"])
    zones = (question.timezone,) if question.timezone else facts.zones
    windows = (policy.window, question.campaign.window)
    inputs = {
        "at": question.at,
        "campaign": question.campaign.key,
        "country": facts.country,
        "kind": facts.kind,
        "zones": zones,
        "windows": [f"{','.join(one.days)} {one.opens}-{one.closes}" for one in windows],
        "consent_needed": [one for one in (policy.consent, question.campaign.consent) if one],
        "consents": [(one.what, one.since, one.source) for one in question.consents],
        "listed": question.listed,
        "called_at": question.called_at,
        "calls_made": question.calls_made,
    }
    because = (
        _about_number(question, facts, policies)
        or _about_campaign(question)
        or _about_person(question, policy)
    )
    if because is not None:
        return Verdict(False, because, inputs)
    if not zones or not all(map(_zone, zones)):
        return Verdict(False, "unknown_time_zone", inputs)
    if not is_open(question.at, zones, windows):
        return Verdict(False, "outside_hours", inputs, next_opening(question.at, zones, windows))
    return Verdict(True, "allowed", inputs)


def _about_number(
    question: Question, facts: NumberFacts, policies: Mapping[str, Policy]
) -> Because | None:
    if facts.kind != "callable":
        reasons: Mapping[str, Because] = {"emergency": "emergency", "none": "not_a_number"}
        return reasons.get(facts.kind, "number_type")
    if question.own_numbers is None:
        return "not_known"
    if question.number in question.own_numbers:
        return "own_number"
    named = question.campaign.countries
    known = facts.country in named if named else (facts.country or "").lower() in policies
    return None if facts.country and known else "country"


def _about_campaign(question: Question) -> Because | None:
    if question.archived is None or question.calls_made is None:
        return "not_known"
    if question.archived:
        return "campaign_archived"
    budget = question.campaign.budget_calls
    return "over_budget" if budget is not None and question.calls_made >= budget else None


def _about_person(question: Question, policy: Policy) -> Because | None:
    if question.listed is None or question.called_at is None:
        return "not_known"
    if question.listed:
        return "do_not_call"
    needed = {one.lower() for one in (policy.consent, question.campaign.consent) if one}
    given = {one.what for one in question.consents if one.since <= question.at and one.source}
    if not needed <= given:
        return "no_consent"
    # A call that is said to be in the future counts as well: somebody's clock is wrong.
    ages = [question.at - called for called in question.called_at]
    in_a_day = sum(age < DAY_S for age in ages)
    in_a_week = sum(age < 7 * DAY_S for age in ages)
    often = in_a_day >= policy.calls_per_day or in_a_week >= policy.calls_per_week
    return "too_often" if often else None


@lru_cache(maxsize=100_000)
def facts_of(number: str) -> NumberFacts:
    """Find out what *number* (E.164) says about itself."""
    nothing = NumberFacts(None, "none", ())
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return nothing
    country = phonenumbers.region_code_for_number(parsed)
    if phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) != number:
        return nothing
    national = phonenumbers.national_significant_number(parsed)
    for region in phonenumbers.region_codes_for_country_code(parsed.country_code or 0):
        if shortnumberinfo.is_emergency_number(national, region):
            return NumberFacts(region, "emergency", ())
    if not phonenumbers.is_valid_number(parsed):
        return nothing
    kind = phonenumbers.number_type(parsed)
    zones = tuple(zone for zone in time_zones_for_number(parsed) if zone != "Etc/Unknown")
    return NumberFacts(country, "callable" if kind in _CALLABLE else "other", zones)


def is_open(at: float, zones: Sequence[str], windows: Sequence[Window]) -> bool:
    """Whether all *windows* are open at *at* by the clock of every one of *zones*."""
    for name in zones:
        zone = _zone(name)
        if zone is None:
            return False
        local = datetime.fromtimestamp(at, zone)
        clock, day = f"{local:%H:%M}", DAYS[local.weekday()]
        if not all(day in one.days and one.opens <= clock < one.closes for one in windows):
            return False
    return bool(zones)


def next_opening(at: float, zones: Sequence[str], windows: Sequence[Window]) -> float | None:
    """Find when all windows are open again, in the days to come; ``None``: never in those."""
    starts = sorted(start for start in _starts(at, zones, windows) if start > at)
    return next((start for start in starts if is_open(start, zones, windows)), None)


def _starts(at: float, zones: Sequence[str], windows: Sequence[Window]) -> Iterator[float]:
    for name in zones:
        zone = _zone(name)
        if zone is None:
            continue
        today = datetime.fromtimestamp(at, zone).date()
        for days in range(LOOK_AHEAD_DAYS):
            for window in windows:
                hour, minute = map(int, window.opens.split(":"))
                day = today + timedelta(days=days)
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                yield local.timestamp()


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
