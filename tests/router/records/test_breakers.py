"""Breakers that routers share: whoever sees calls fail, all of them leave it alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.campaigns.leads import Lead
from router.campaigns.model import Campaign
from router.db import Store
from router.records.attempts import Attempt, Order, State
from router.records.breakers import LIMITS
from router.records.campaigns import KnownCampaign
from router.records.runs import Nothing, Runs, Taken
from tests.router.records.test_runs import FAST, Bench, take


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    yield Bench(store)
    await store.aclose()


async def called(bench: Bench, runs: Runs, state: State, campaign: Campaign = FAST) -> Any:
    """Have the next lead called, and the call end in *state*; return what was said instead."""
    answer = await take(runs, campaign)
    bench.now += 0.01
    if isinstance(answer, Taken):
        await concluded(runs, bench, answer.attempt, state)
    return answer


async def concluded(runs: Runs, bench: Bench, attempt: Attempt, state: State) -> None:
    await bench.attempts().end(attempt.attempt_id, state, "a test")
    ended = await bench.attempts().find(attempt.attempt_id)
    assert ended is not None
    assert await runs.conclude(ended, None)
    assert not await runs.conclude(ended, None)


async def trip(bench: Bench, runs: Runs) -> Runs:
    """Have ten calls fail, seen by two routers; return the other router's runs."""
    other = bench.runs(bench.attempts("two"))
    for place in range(LIMITS.in_a_row):
        answer = await called(bench, (runs, other)[place % 2], "failed")
        assert isinstance(answer, Taken)
    return other


async def test_failures_that_two_routers_saw_stop_both_for_a_while(bench: Bench) -> None:
    runs = await bench.start(40)
    other = await trip(bench, runs)

    for one in (runs, other):
        answer = await take(one)
        assert isinstance(answer, Nothing)
        assert answer.because == "tripped"
        assert answer.again_at == pytest.approx(bench.now + LIMITS.open_s)
    assert await runs.tripped("default", "fast", "") == ["trunk ", "campaign fast"]


async def test_one_call_tries_and_when_it_is_made_the_others_follow(bench: Bench) -> None:
    runs = await bench.start(40)
    other = await trip(bench, runs)
    bench.now += LIMITS.open_s

    probe = await take(runs)
    bench.now += 1
    assert isinstance(probe, Taken)
    assert await take(other) == Nothing("tripped")
    await concluded(other, bench, probe.attempt, "busy")

    assert isinstance(await take(other), Taken)
    assert await runs.tripped("default", "fast", "") == []


async def test_a_call_that_is_answered_is_not_waited_for(bench: Bench) -> None:
    runs = await bench.start(40)
    await trip(bench, runs)
    bench.now += LIMITS.open_s
    probe = await take(runs)
    assert isinstance(probe, Taken)
    await bench.attempts().answered(probe.attempt.attempt_id, bench.now)
    bench.now += 1

    assert isinstance(await take(runs), Taken)
    await concluded(runs, bench, probe.attempt, "answered")
    bench.now += 1

    assert isinstance(await called(bench, runs, "failed"), Taken)


async def test_a_call_that_fails_too_begins_the_wait_anew(bench: Bench) -> None:
    runs = await bench.start(40)
    await trip(bench, runs)
    bench.now += LIMITS.open_s

    assert isinstance(await called(bench, runs, "failed"), Taken)

    answer = await take(runs)
    assert isinstance(answer, Nothing)
    assert answer.again_at == pytest.approx(bench.now + LIMITS.open_s)


@pytest.mark.parametrize("state", ["uncertain", "canceled"])
async def test_what_says_nothing_lets_another_call_try(bench: Bench, state: State) -> None:
    runs = await bench.start(40)
    await trip(bench, runs)
    bench.now += LIMITS.open_s
    assert isinstance(await called(bench, runs, state), Taken)

    assert isinstance(await called(bench, runs, "answered"), Taken)

    assert isinstance(await called(bench, runs, "answered"), Taken)


async def test_a_call_that_was_never_sent_lets_another_call_try(bench: Bench) -> None:
    runs = await bench.start(40)
    await trip(bench, runs)
    bench.now += LIMITS.open_s
    probe = await take(runs)
    assert isinstance(probe, Taken)
    assert await runs.give_back(probe.attempt)
    bench.now += 1

    assert isinstance(await take(runs), Taken)


async def test_calls_from_before_it_tripped_say_nothing_any_more(bench: Bench) -> None:
    runs = await bench.start(40)
    early = [await take(runs)]
    bench.now += 0.01
    await trip(bench, runs)
    bench.now += LIMITS.open_s
    assert isinstance(await called(bench, runs, "busy"), Taken)

    for one in early:
        await concluded(runs, bench, one.attempt, "failed")

    assert await runs.tripped("default", "fast", "") == []


async def test_a_campaign_is_its_tenants_and_a_trunk_everybodys(bench: Bench) -> None:
    runs = await bench.start(40)
    await trip(bench, runs)
    attempts = bench.attempts()

    def order(tenant: str, trunk: str, number: str) -> Order:
        known = KnownCampaign(FAST, "made")
        return Order(
            tenant=tenant,
            known=known,
            campaign_version="v1",
            lead=Lead(phone=number),
            lead_id=number,
            trunk=trunk,
        )

    single = await attempts.claim(order("default", "ST_two", "+13125550300"))

    assert isinstance(single, Attempt), "who calls one person decides for themselves"
    await concluded(runs, bench, single, "failed")
    assert await runs.tripped("north", "fast", "") == ["trunk "]
    assert await runs.tripped("north", "fast", "ST_two") == []
    assert await runs.tripped("default", "fast", "ST_two") == ["campaign fast"]
