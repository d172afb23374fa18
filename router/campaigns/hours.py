"""When a campaign may call, hour by hour of a day, by the clocks of those who are called. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from router.campaigns.gate import facts_of, is_open
from router.campaigns.leads import Lead
from router.campaigns.model import Campaign, Window
from router.campaigns.policies import DEFAULT
from router.campaigns.policy import Policy

HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Strip:
    """One zone's day."""

    zone: str
    hours: tuple[bool, ...]  # whether calls are made in the middle of each
    now: int  # the hour that it is there
    is_open: bool  # at this moment


def zones_of(leads: Iterable[Lead], most: int) -> tuple[str, ...]:
    """Name the time zones of *leads*, the most frequent first."""
    counted: Counter[str] = Counter()
    for lead in leads:
        known = (lead.timezone,) if lead.timezone else facts_of(lead.phone).zones[:1]
        counted.update(known)
    return tuple(zone for zone, _ in counted.most_common(most))


def windows_of(campaign: Campaign, policies: Mapping[str, Policy]) -> Sequence[Window]:
    """Give the campaign's window and those of the countries that it names; else the strictest."""
    named = [policies.get(country.lower(), policies[DEFAULT]) for country in campaign.countries]
    return (campaign.window, *(one.window for one in named or [policies[DEFAULT]]))


def strip_of(zone: str, windows: Sequence[Window], at: float) -> Strip:
    """Say for each hour of today in *zone* whether all *windows* are open; *at* is Unix seconds."""
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    middles = [local.replace(hour=hour, minute=30, second=0) for hour in range(HOURS)]
    hours = tuple(is_open(one.timestamp(), [zone], windows) for one in middles)
    return Strip(zone, hours, local.hour, is_open(at, [zone], windows))
