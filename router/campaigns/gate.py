"""May this number be called now? The last question before a dial. Pure: no I/O, no clock.

It fails closed: what is not known, or goes wrong, is a no. It neither dials nor counts; whoever
does gives what is known, and the verdict comes with its inputs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
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


#: The limits of a campaign, and what of ``Spent`` each is of.
_BUDGETS: Final[Mapping[str, str]] = {
    "budget_calls": "calls",
    "budget_calls_per_day": "calls_in_a_day",
    "budget_minutes": "minutes",
    "budget_minutes_per_day": "minutes_in_a_day",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a campaign has used of its budget."""

    calls: int = 0
    calls_in_a_day: int = 0  # in the last 24 hours
    minutes: float = 0.0  # of talking
    minutes_in_a_day: float = 0.0

    def with_a_call(self) -> "Spent":
        """Add a call whose length is not known yet."""
        return replace(self, calls=self.calls + 1, calls_in_a_day=self.calls_in_a_day + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """All that the answer depends on; ``None`` is what could not be found out."""

    number: str  # E.164
    at: float  # Unix seconds
    campaign: Campaign
    archived: bool | None
    timezone: str = ""  # the lead's own; it wins over what the number says
    listed: Sequence[str] | None  # the scopes in which a do-not-call list that counts here has it
    consents: Sequence[Consent] = ()  # that stand: none that was withdrawn
    called_at: Sequence[float] | None  # earlier calls to this person, of all campaigns
    spent: Spent | None  # by this campaign; it matters where there is a budget
    own_numbers: frozenset[str] | None  # numbers of ours


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The answer, and what it rests on."""

    allowed: bool
    because: Because
    inputs: Mapping[str, object] = field(default_factory=dict)
    next_at: float | None = None  # Unix seconds: when the hours allow it, if hours are the reason

    def as_json(self) -> str:
        """Write it down, for the row of an attempt; ``read_verdict`` reads it."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}  # copies nothing
        return json.dumps(known, ensure_ascii=False, sort_keys=True, default=str)


def read_verdict(text: str) -> GateVerdict:
    """Read what ``as_json`` wrote."""
    return GateVerdict(**json.loads(text))


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What a number says about itself."""

    country: str | None
    kind: Literal["callable", "emergency", "other", "none"]
    zones: tuple[str, ...]  # each in which it may be; empty: unknown


def decide(asked: GateInputs, policies: Mapping[str, Policy]) -> GateVerdict:
    """Answer, never raising; *policies* are by country in lower case, with ``default``."""
    try:
        return _decide(asked, policies)
    except Exception as exc:  # noqa: BLE001  # whatever is wrong, nobody is called
        return GateVerdict(False, "gate_failed", {"error": type(exc).__name__})


def _decide(asked: GateInputs, policies: Mapping[str, Policy]) -> GateVerdict:
    facts = facts_of(asked.number)
    policy = policies.get((facts.country or "").lower(), policies["default"])
    zones = (asked.timezone,) if asked.timezone else facts.zones
    windows = (policy.window, asked.campaign.window)
    inputs = {
        "at": asked.at,
        "campaign": asked.campaign.key,
        "country": facts.country,
        "kind": facts.kind,
        "zones": zones,
        "windows": [f"{','.join(one.days)} {one.opens}-{one.closes}" for one in windows],
        "consent_needed": [one for one in (policy.consent, asked.campaign.consent) if one],
        "consents": [(one.what, one.since, one.source) for one in asked.consents],
        "caps": {"day": policy.calls_per_day, "week": policy.calls_per_week},
        "own_number": None if asked.own_numbers is None else asked.number in asked.own_numbers,
        "listed": asked.listed,
        "called_at": asked.called_at,
        "archived": asked.archived,
        "budget": {name: getattr(asked.campaign, name) for name in _BUDGETS},
        "spent": asdict(asked.spent) if asked.spent and has_budget(asked.campaign) else None,
    }
    because = (
        _about_number(asked, facts, policies)
        or _about_campaign(asked)
        or _about_person(asked, policy)
    )
    if because is not None:
        return GateVerdict(False, because, inputs)
    if not zones or not all(map(_zone, zones)):
        return GateVerdict(False, "unknown_time_zone", inputs)
    if not is_open(asked.at, zones, windows):
        return GateVerdict(False, "outside_hours", inputs, next_opening(asked.at, zones, windows))
    return GateVerdict(True, "allowed", inputs)


def _about_number(
    asked: GateInputs, facts: NumberFacts, policies: Mapping[str, Policy]
) -> Because | None:
    if facts.kind != "callable":
        reasons: Mapping[str, Because] = {"emergency": "emergency", "none": "not_a_number"}
        return reasons.get(facts.kind, "number_type")
    if asked.own_numbers is None:
        return "not_known"
    if asked.number in asked.own_numbers:
        return "own_number"
    named = asked.campaign.countries
    known = facts.country in named if named else (facts.country or "").lower() in policies
    return None if facts.country and known else "country"


def _about_campaign(asked: GateInputs) -> Because | None:
    if asked.archived is None or asked.spent is None:
        return "not_known"
    if asked.archived:
        return "campaign_archived"
    return "over_budget" if is_spent(asked.campaign, asked.spent) else None


def has_budget(campaign: Campaign) -> bool:
    """Whether there is a limit to what a campaign may spend."""
    return any(getattr(campaign, name) is not None for name in _BUDGETS)


def is_spent(campaign: Campaign, spent: Spent) -> bool:
    """Whether one of the campaign's budgets is used up."""
    limits = ((getattr(campaign, name), getattr(spent, of)) for name, of in _BUDGETS.items())
    return any(limit is not None and used >= limit for limit, used in limits)


def _about_person(asked: GateInputs, policy: Policy) -> Because | None:
    if asked.listed is None or asked.called_at is None:
        return "not_known"
    if asked.listed:
        return "do_not_call"
    needed = {one.lower() for one in (policy.consent, asked.campaign.consent) if one}
    given = {one.what for one in asked.consents if one.since <= asked.at and one.source}
    if not needed <= given:
        return "no_consent"
    # A call that is said to be in the future counts as well: somebody's clock is wrong.
    ages = [asked.at - called for called in asked.called_at]
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
