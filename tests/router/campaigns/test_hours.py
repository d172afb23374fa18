"""The strip of hours: when calls are made, by the clocks of those who are called."""

from datetime import UTC, datetime

from router.campaigns.hours import strip_of, windows_of, zones_of
from router.campaigns.leads import Lead
from router.campaigns.model import read_campaign
from router.campaigns.policies import shipped


def test_a_strip_opens_with_the_campaign_and_no_sooner_than_the_rules_of_the_country() -> None:
    campaign = read_campaign(
        {"name": "One", "countries": ["DE"], "window": {"opens": "07:00", "closes": "18:00"}}
    )
    at = datetime(2026, 11, 23, 9, 10, tzinfo=UTC).timestamp()  # a Monday

    strip = strip_of("Europe/Berlin", windows_of(campaign, shipped()), at)

    opened = [hour for hour, is_open in enumerate(strip.hours) if is_open]
    assert opened[-1] == 17
    assert opened[0] >= 8
    assert (strip.now, strip.is_open) == (10, True)


def test_zones_are_those_of_the_leads_the_most_frequent_first() -> None:
    leads = [
        Lead(phone="+4930901820"),
        Lead(phone="+4930901821"),
        Lead(phone="+13125550100", timezone="America/New_York"),
    ]

    assert zones_of(leads, 2) == ("Europe/Berlin", "America/New_York")
