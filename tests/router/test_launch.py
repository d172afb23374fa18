"""The preview of a large list: counted in the background, and right."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from router.campaigns.gate import decide, is_spent
from router.campaigns.leads import Lead
from router.campaigns.model import read_campaign
from router.campaigns.policies import shipped
from router.errors import RequestRefused, StoreUnavailable
from router.launch import AT_ONCE, KEPT_S, MAX_WAITING, Launch, Launches, Look
from router.records.campaigns import KnownCampaign
from router.records.gate_inputs import gather
from tests.fakes_personas import FakeClock
from tests.router.api.rig import Rig, open_rig

NOON = 1_795_197_600.0  # a Friday, in Chicago
WAIT_S = 60.0
SIZE = AT_ONCE + 20


def _row(number: int) -> str:
    zone = ("", "Asia/Tokyo", "America/Chicago")[number % 3]
    agreed = "calls,2026-01-02,form" if number % 5 else ",,"
    name = f"Person {number}" if number % 7 else ""
    return f"+1312555{number:04},{name},{zone},{agreed}\n"


FILE = "phone,prospect_name,timezone,consent,consent_at,consent_source\n" + "".join(
    _row(number) for number in range(SIZE)
)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as rig:
        await rig.services.leads.add("default", "large.csv", FILE.encode())
        for number in range(0, SIZE, 11):
            await rig.services.do_not_call.add(f"+1312555{number:04}", source="api")
        yield rig


async def _launch(rig: Rig, **fields: Any) -> Launch:
    known = await rig.services.campaigns.add("default", read_campaign({"name": "One"} | fields))
    found = await rig.services.leads.find("default", "large.csv")
    assert found is not None
    return Launch(tenant="default", known=known, leads=found, own_numbers=frozenset())


async def _whole(launches: Launches, launch: Launch, at: float | None = None) -> Look:
    until = time.monotonic() + WAIT_S
    while not (look := await launches.look(launch, at)).whole:
        assert time.monotonic() < until, look
        await asyncio.sleep(0.02)
    return look


async def _one_by_one(rig: Rig, known: KnownCampaign, leads: list[Lead]) -> Counter[str]:
    """Ask as a claim does, the budget used up by those before."""
    counts: Counter[str] = Counter()

    def ask(connection: sa.Connection) -> None:
        spent = None
        for lead in leads:
            asked = gather(connection, lead, known, NOON, tenant="default", own_numbers=frozenset())
            assert asked.spent is not None
            spent = spent or asked.spent
            verdict = decide(asked, shipped())
            over = verdict.allowed and is_spent(known.campaign, spent)
            counts["over_budget" if over else verdict.because] += 1
            if verdict.allowed and not over:
                spent = spent.with_a_call()

    await rig.services.store.write(ask, patient=True)
    return counts


async def test_a_large_list_is_counted_in_the_background_as_if_one_by_one(rig: Rig) -> None:
    launch = await _launch(rig, budget_calls=40, session_text="Hello [Prospect Name].")
    launches = rig.services.launches

    first = await launches.look(launch, NOON)
    look = await _whole(launches, launch, NOON)

    stored = await rig.services.leads.all(launch.leads)
    assert (first.whole, first.seen.total) == (False, 0)
    assert look.seen.counts == await _one_by_one(rig, launch.known, [one.lead for one in stored])
    assert set(look.seen.counts) == {
        "allowed",
        "do_not_call",
        "no_consent",
        "outside_hours",
        "over_budget",
    }
    assert look.seen.missing == {"[Prospect Name]": len(range(0, SIZE, 7))}
    assert look.seen.next_at == pytest.approx(NOON + 5 * 3600)  # eight o'clock in Tokyo


async def test_it_is_counted_once_a_minute_and_for_each_version_of_the_campaign(rig: Rig) -> None:
    clock = FakeClock(NOON)
    async with Launches(rig.services.store, clock=clock) as launches:
        launch = await _launch(rig)
        whole = await _whole(launches, launch)
        clock.now += KEPT_S - 1
        again = await launches.look(launch)
        other = launch.known.campaign.model_copy(update={"consent": "email"})
        changed = await launches.look(replace(launch, known=replace(launch.known, campaign=other)))
        clock.now += 2
        later = await launches.look(launch)

    assert again is whole
    assert not changed.whole
    assert (later.whole, later.at) == (False, clock.now)


async def test_no_more_than_a_few_lists_wait_to_be_counted(rig: Rig) -> None:
    async with Launches(rig.services.store, clock=FakeClock(NOON)) as launches:
        launch = await _launch(rig)
        for minute in range(MAX_WAITING):
            await launches.look(launch, NOON + 60 * minute)

        with pytest.raises(RequestRefused, match="too_many_counts"):
            await launches.look(launch, NOON - 60)


async def test_a_count_that_failed_is_said_once_and_begun_again(rig: Rig) -> None:
    launch, store = await _launch(rig), rig.services.store
    await store.write(lambda c: c.execute(sa.text("ALTER TABLE consents RENAME TO away")))
    async with Launches(store, clock=FakeClock(NOON)) as launches:
        with pytest.raises(StoreUnavailable):
            await _whole(launches, launch)
        await store.write(lambda c: c.execute(sa.text("ALTER TABLE away RENAME TO consents")))

        assert (await _whole(launches, launch)).seen.total == SIZE


async def test_the_page_and_the_answer_say_how_far_it_is(rig: Rig) -> None:
    launch = await _launch(rig)
    headers = await rig.token("operator")
    path = "/campaigns/one/launch?list=large.csv"
    async with rig.client() as client:
        page = (await client.get(path, headers=headers)).text
        await _whole(rig.services.launches, launch)
        after = (await client.get(path, headers=headers)).text
        answer = await client.get("/api/campaigns/one/preview?list=large.csv", headers=headers)

    assert f"0 of {SIZE} leads are counted" in page
    assert 'hx-trigger="every 2s"' in page
    assert "leads are counted" not in after
    assert 'hx-trigger="every 2s"' not in after
    seen = answer.json()
    assert (seen["whole"], seen["counted"], seen["total"]) == (True, SIZE, SIZE)
    assert seen["sentence"].startswith(f"{SIZE} leads: ")
