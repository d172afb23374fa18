"""Campaigns, and what is known of earlier calls, in either database."""

import time

import pytest
import sqlalchemy as sa

from router.campaigns.model import DEFAULT, read_campaign
from router.db import Store
from router.errors import CampaignRefused
from router.records.call_tables import calls
from router.records.campaigns import Campaigns
from router.records.do_not_call import EVERYWHERE, DoNotCall, campaign_scope, scopes_of
from router.records.past_calls import called_at, ours_of, spent_of
from router.records.rung import note_rung

ONE = read_campaign({"name": "One", "retries": {"busy": {"times": 2, "after_s": 600}}})


async def test_a_campaign_is_kept_changed_and_put_away(store: Store) -> None:
    campaigns = Campaigns(store, clock=lambda: 5.0, files=list)
    await campaigns.add("default", ONE)

    changed = await campaigns.change("default", "one", {"concurrency": 3, "key": "other"})
    assert await campaigns.archive("default", "one", archived=True)

    assert changed is not None
    assert (changed.campaign.key, changed.campaign.concurrency) == ("one", 3)
    found = await campaigns.find("default", "one")
    assert found is not None
    assert (found.archived, found.changed_at, found.campaign) == (True, 5.0, changed.campaign)
    assert await campaigns.find("other", "one") is None
    assert not await campaigns.archive("other", "one", archived=False)


async def test_what_cannot_be_changed_stays_as_it_was(store: Store) -> None:
    campaigns = Campaigns(store, clock=time.time, files=list)
    await campaigns.add("default", ONE)

    with pytest.raises(CampaignRefused, match="invalid"):
        await campaigns.change("default", "one", {"concurrency": 0})
    with pytest.raises(CampaignRefused, match="read_only"):
        await campaigns.change("default", DEFAULT.key, {"concurrency": 1})
    with pytest.raises(CampaignRefused, match="key_taken"):
        await campaigns.add("default", ONE)

    found = await campaigns.find("default", "one")
    assert found is not None
    assert found.campaign == ONE


async def test_a_file_may_take_the_place_of_the_default(store: Store) -> None:
    mine = read_campaign({"name": "Mine", "key": "default"})

    listed = await Campaigns(store, clock=time.time, files=lambda: [mine]).list("default")

    assert [(one.campaign.name, one.origin) for one in listed] == [("Mine", "file")]


async def test_earlier_calls_are_found_however_the_number_was_written(store: Store) -> None:
    def called(call_id: str, **columns: object) -> dict[str, object]:
        counts = dict.fromkeys(("attempts", "turns", "facts", "tool_calls", "problems"), 0)
        known = {"tenant": "default", "direction": "outbound", "opened_by": "agent"}
        times = {"started_at": 100.0, "heard_at": 100.0}
        empty = {"caller": None, "dialed_number": None, "campaign_id": None}
        return {"call_id": call_id, **counts, **known, **times, **empty, **columns}

    rows = [
        called("a", caller="+1 312 555 0101", campaign_id="one"),
        called("b", dialed_number="+13125550101", started_at=200.0),
        called("c", caller="+13125550101", started_at=10.0),
        called("d", caller="+13125550101", tenant="other"),
        called("e", direction="inbound", dialed_number="+13125550199", caller="+13125550101"),
    ]

    def keep(connection: sa.Connection) -> None:
        connection.execute(sa.insert(calls), rows)
        for row in rows:
            note_rung(connection, row)

    await store.write(keep)
    one = read_campaign({"name": "One", "budget_calls": 9})
    asked = ["+13125550101", "+13125550199"]

    times = await store.read(lambda c: called_at(c, "default", asked, 50.0))
    spent = await store.read(lambda c: spent_of(c, "default", one, 200.0))
    ours = await store.read(lambda c: ours_of(c, "default", asked))

    assert times == {"+13125550101": [100.0, 200.0]}
    assert (spent.calls, spent.calls_in_a_day, spent.minutes) == (1, 1, 0.0)
    assert ours == {"+13125550199"}


async def test_the_numbers_that_must_not_be_called_are_those_of_the_campaign_and_of_all(
    store: Store,
) -> None:
    listed = DoNotCall(store, clock=time.time)
    await listed.add("+13125550101", source="api")
    await listed.add("+13125550102", source="api", scope=campaign_scope("one"))
    await listed.add("+13125550103", source="api", scope=campaign_scope("two"))

    await listed.add("+13125550102", source="api")
    await listed.add("+13125550104", source="api", scope=EVERYWHERE, tenant="other")
    await listed.add("+13125550105", source="api", tenant="other")

    asked = [f"+1312555010{last}" for last in range(10)]
    of_one = await store.read(lambda c: scopes_of(c, "default", asked, "one"))
    of_all = await store.read(lambda c: scopes_of(c, "default", asked, None))
    assert of_one == {
        "+13125550101": ("tenant",),
        "+13125550102": ("campaign:one", "tenant"),
        "+13125550104": ("everywhere",),
    }
    assert set(of_all) == {"+13125550101", "+13125550102", "+13125550104"}
