"""Attempts and runs, in either database: who is next, and never twice."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from router.campaigns.gate import GateVerdict
from router.campaigns.leads import Lead
from router.campaigns.model import Campaign, Retry, read_campaign
from router.campaigns.progress import Mode, Run
from router.campaigns.resolution import Heard
from router.db import Store
from router.errors import RunRefused
from router.records.attempts import Attempt, Attempts, Order, Refused
from router.records.campaigns import KnownCampaign
from router.records.leads import Leads, StoredLead
from router.records.outbox import Outbox, Position
from router.records.outcomes import AttemptFilter, Outcomes
from router.records.runs import Capacity, Nothing, Runs, Taken

FAST = read_campaign({"name": "Fast", "calls_per_second": 100, "concurrency": 1000})


@dataclass
class Bench:
    """Two tables, one clock, and a gate that says what a test wants."""

    store: Store
    verdicts: dict[str, GateVerdict] = field(default_factory=dict)
    now: float = 1_000.0
    capacity: Capacity = field(default_factory=lambda: Capacity(1_000, 0))
    ids: Callable[[], str] = field(
        default_factory=lambda: map("{:032x}".format, itertools.count()).__next__
    )

    def clock(self) -> float:
        return self.now

    def judge(self, _connection: sa.Connection, order: Order, _at: float) -> GateVerdict:
        return self.verdicts.get(order.lead.phone, GateVerdict(True, "allowed", {"why": "a test"}))

    def attempts(self, owner: str = "one") -> Attempts:
        return Attempts(
            self.store, clock=self.clock, new_id=self.ids, owner=owner, judge=self.judge
        )

    def runs(self, attempts: Attempts | None = None) -> Runs:
        return Runs(
            self.store,
            attempts or self.attempts(),
            clock=self.clock,
            new_id=self.ids,
            capacity=self.capacity,
        )

    async def start(self, count: int, campaign: Campaign = FAST, mode: Mode = "all") -> Runs:
        lines = "".join(f"+1312555{number:04}\n" for number in range(100, 100 + count))
        leads = Leads(self.store, clock=self.clock, region="US")
        found, table = await leads.add("default", "leads.csv", f"phone\n{lines}".encode())
        assert not table.bad
        runs = self.runs()
        await runs.start("default", campaign.key, found, mode=mode, position=0, by="test")
        return runs


def orders(campaign: Campaign) -> Callable[[StoredLead, Run, int], Order]:
    def order_of(found: StoredLead, run: Run, tries: int) -> Order:
        return Order(
            tenant=run.tenant,
            known=KnownCampaign(campaign, "made"),
            campaign_version="v1",
            lead=found.lead,
            lead_id=f"{run.list_id}:{found.position}",
            run_id=run.run_id,
            list_id=run.list_id,
            position=found.position,
            tries=tries,
        )

    return order_of


async def take(runs: Runs, campaign: Campaign = FAST) -> Any:
    return await runs.next("default", campaign.key, orders(campaign))


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    yield Bench(store)
    await store.aclose()


def single(number: str = "+13125550100", lead_id: str = "l:1") -> Order:
    return Order(
        tenant="default",
        known=KnownCampaign(FAST, "made"),
        campaign_version="v1",
        lead=Lead(phone=number),
        lead_id=lead_id,
    )


async def test_of_what_events_told_the_latest_agent_and_the_first_end_are_kept(
    bench: Bench,
) -> None:
    attempts = bench.attempts()
    going, over = (
        await attempts.claim(single()),
        await attempts.claim(single("+13125550101", "l:2")),
    )
    assert isinstance(going, Attempt)
    assert isinstance(over, Attempt)
    await attempts.end(over.attempt_id, "busy", "busy")

    await attempts.note_heard(
        {
            going.attempt_id: Heard(agent_seen_at=1.0, left_at=2.0, left_as="no_answer"),
            over.attempt_id: Heard(agent_seen_at=1.0),
            "unknown": Heard(agent_seen_at=1.0),
        }
    )
    later = Heard(agent_seen_at=3.0, callee_seen_at=3.0, left_at=4.0, left_as="canceled")
    await attempts.note_heard({going.attempt_id: later})

    [kept] = await attempts.open()
    assert kept.heard == Heard(3.0, 3.0, 2.0, "no_answer")
    closed = await attempts.find(over.attempt_id)
    assert closed is not None
    assert closed.heard == Heard()


async def test_a_lead_and_a_number_are_called_once_at_a_time(bench: Bench) -> None:
    attempts = bench.attempts()

    first = await attempts.claim(single())
    same_number = await attempts.claim(single(lead_id="l:2"))
    same_lead = await attempts.claim(single("+13125550199"))

    assert isinstance(first, Attempt)
    assert first.room == first.identity == f"out-{first.attempt_id}"
    assert first.verdict["inputs"] == {"why": "a test"}
    assert same_number == same_lead == Refused("being_called")
    await attempts.end(first.attempt_id, "busy", "test")
    assert isinstance(await attempts.claim(single(lead_id="l:2")), Attempt)


async def test_of_many_who_claim_one_number_one_gets_it(bench: Bench) -> None:
    claimed = await asyncio.gather(
        *(bench.attempts(f"router-{i}").claim(single(lead_id=f"l:{i}")) for i in range(20))
    )

    assert sum(isinstance(one, Attempt) for one in claimed) == 1


async def test_what_the_gate_refuses_is_written_down_and_is_no_open_call(bench: Bench) -> None:
    attempts = bench.attempts()
    bench.verdicts["+13125550100"] = GateVerdict(False, "do_not_call", {"listed": True})

    refused = await attempts.claim(single())

    assert refused == Refused("do_not_call")
    [row] = (await Outcomes(bench.store).page(AttemptFilter(tenant="default"))).rows
    assert (row.state, row.is_open, row.verdict["because"]) == ("refused", False, "do_not_call")
    assert await attempts.open() == []


async def test_what_is_hung_up_before_it_is_dialed_is_not_dialed(bench: Bench) -> None:
    attempts = bench.attempts()
    claimed = await attempts.claim(single())
    assert isinstance(claimed, Attempt)

    assert await attempts.want_hang_up("an opt-out", number="+13125550100") == [claimed.attempt_id]

    assert not await attempts.dialing(claimed.attempt_id)


async def test_an_agents_report_mends_what_was_uncertain_and_nothing_else(bench: Bench) -> None:
    attempts = bench.attempts()
    claimed = await attempts.claim(single())
    assert isinstance(claimed, Attempt)
    await attempts.end(claimed.attempt_id, "uncertain", "nobody saw it")

    assert await attempts.told(claimed.attempt_id, "busy", "SIP 486")
    assert not await attempts.told(claimed.attempt_id, "answered", "a lie")

    found = await attempts.find(claimed.attempt_id)
    assert found is not None
    assert (found.state, found.disposition) == ("busy", "busy")


async def test_every_lead_is_taken_once_by_however_many_routers(bench: Bench) -> None:
    runs = await bench.start(12)
    others = [bench.runs(bench.attempts(f"router-{i}")) for i in range(2)]
    taken: list[str] = []

    async def work(one: Runs) -> None:
        while True:
            answer = await take(one)
            if isinstance(answer, Taken):
                taken.append(answer.attempt.number)
                bench.now += 0.01
                await bench.attempts().end(answer.attempt.attempt_id, "no_answer", "test")
                await one.conclude(answer.attempt, None)
            elif answer.because == "pace":
                bench.now = max(bench.now, answer.again_at or 0.0)
            else:
                return

    await asyncio.gather(*map(work, [runs, *others]))

    assert len(taken) == len(set(taken)) == 12
    run = await runs.find("default", "fast")
    assert run is not None
    assert (run.state, run.because, run.position) == ("idle", "the list is done", 12)


async def test_two_routers_split_a_list_and_hold_its_limit_together(bench: Bench) -> None:
    three = FAST.model_copy(update={"concurrency": 3})
    runs = await bench.start(12, three)
    both = [bench.runs(bench.attempts(owner)) for owner in ("one", "two")]
    owners: list[str] = []

    for _ in range(3):
        answers = []
        for one in (both[0], both[0], both[1], both[1]):
            bench.now += 0.01
            answers.append(await take(one, three))
        going = [one.attempt for one in answers if isinstance(one, Taken)]
        assert len(going) == len(await bench.attempts().open()) == 3
        assert answers[-1] == Nothing("full")
        owners += [one.owner for one in going]
        for attempt in going:
            await bench.attempts().end(attempt.attempt_id, "no_answer", "test")
            await runs.conclude(attempt, None)

    assert (owners.count("one"), owners.count("two")) == (6, 3)


async def test_the_pace_is_held_exactly(bench: Bench) -> None:
    slow = FAST.model_copy(update={"calls_per_second": 4.0})
    runs = await bench.start(3, slow)
    start = bench.now

    first = await take(runs, slow)
    assert isinstance(first, Taken)
    assert first.next_at == start + 0.25
    bench.now = start + 0.2499
    assert await take(runs, slow) == Nothing("pace", start + 0.25)
    bench.now = start + 0.25
    assert isinstance(await take(runs, slow), Taken)


async def test_no_more_calls_go_on_than_the_campaign_and_all_capacity_allow(bench: Bench) -> None:
    bench.capacity = Capacity(calls=5, reserved=2)
    runs = await bench.start(10)
    two = FAST.model_copy(update={"concurrency": 2})

    for _ in range(2):
        assert isinstance(await take(runs, two), Taken)
        bench.now += 1
    assert await take(runs, two) == Nothing("full")
    assert isinstance(await take(runs), Taken)
    bench.now += 1
    assert await take(runs) == Nothing("no_room")


async def test_a_lead_is_called_again_as_its_campaign_says_and_no_more_often(bench: Bench) -> None:
    runs, attempts = await bench.start(1), bench.attempts()
    retry = Retry(times=2, after_s=600)

    for called in (1, 2, 3):
        answer = await take(runs)
        assert isinstance(answer, Taken)
        assert answer.attempt.tries == called
        await attempts.end(answer.attempt.attempt_id, "busy", "test")
        ended = await attempts.find(answer.attempt.attempt_id)
        assert ended is not None
        assert await runs.conclude(ended, retry)
        assert not await runs.conclude(ended, retry)
        bench.now += 1
        if called < 3:
            assert await take(runs) == Nothing("waiting", bench.now + 599)
        bench.now += 599

    assert await take(runs) == Nothing("exhausted")


async def test_a_lead_outside_its_hours_waits_for_them(bench: Bench) -> None:
    runs = await bench.start(1)
    bench.verdicts["+13125550100"] = GateVerdict(False, "outside_hours", next_at=bench.now + 7_200)

    assert await take(runs) == Nothing("waiting", bench.now + 7_200)
    bench.verdicts.clear()
    bench.now += 7_200

    answer = await take(runs)
    assert isinstance(answer, Taken)
    assert answer.attempt.tries == 1


async def test_a_run_over_its_budget_pauses_and_keeps_its_leads(bench: Bench) -> None:
    runs = await bench.start(2)
    bench.verdicts["+13125550100"] = GateVerdict(False, "over_budget")

    assert await take(runs) == Nothing("not_running")
    run = await runs.find("default", "fast")
    assert run is not None
    assert (run.state, run.because, run.position) == ("paused", "over_budget", 0)


async def test_what_was_never_sent_is_given_back_and_called_as_if_new(bench: Bench) -> None:
    runs = await bench.start(1)
    first = await take(runs)
    assert isinstance(first, Taken)

    assert await runs.give_back(first.attempt)
    assert not await bench.attempts().dialing(first.attempt.attempt_id)
    bench.now += 1

    second = await take(runs)
    assert isinstance(second, Taken)
    assert (second.attempt.number, second.attempt.tries) == (first.attempt.number, 1)


async def test_a_run_pauses_goes_on_and_stops_after_the_calls_that_go_on(bench: Bench) -> None:
    runs, attempts = await bench.start(3), bench.attempts()
    going = await take(runs)
    assert isinstance(going, Taken)
    bench.now += 1

    async def state(wish: Any) -> str | None:
        run = await runs.wish("default", "fast", wish, "test")
        return run.state if run else None

    assert await state("pause") == "pausing"
    assert await take(runs) == Nothing("not_running")
    assert await state("resume") == "running"
    assert await state("stop") == "stopping"
    with pytest.raises(RunRefused, match="stopping"):
        await state("pause")
    await attempts.end(going.attempt.attempt_id, "answered", "test")
    await runs.settle()

    run = await runs.find("default", "fast")
    assert run is not None
    assert run.state == "idle"


async def test_every_change_is_told_in_its_transaction(bench: Bench) -> None:
    outbox = Outbox(bench.store, clock=bench.clock)

    async def told() -> list[tuple[str, str]]:
        read = await outbox.after(Position(0, 1), 100, lambda one: one.notice)
        return [
            (one.call_id or "run", json.loads(one.body or "")["state"])
            for one in read
            if one.kind in {"run.changed", "attempt.changed"}
        ]

    runs, attempts = await bench.start(2), bench.attempts()
    bench.verdicts["+13125550101"] = GateVerdict(False, "do_not_call", {})
    first = (await take(runs)).attempt
    await attempts.dialing(first.attempt_id)
    await attempts.dialing(first.attempt_id)  # it is dialing: nothing changes
    await attempts.answered(first.attempt_id, bench.now)
    await attempts.want_hang_up("enough", run_id=first.run_id)
    await attempts.end(first.attempt_id, "failed", "test")
    await attempts.annotate("default", first.attempt_id, note="a", disposition=None)
    bench.now += 1
    await take(runs)
    found = await told()

    dial = first.attempt_id
    assert found[:2] == [("run", "running"), (dial, "claimed")]
    assert found[2:7] == [(dial, "dialing"), *[(dial, "answered")] * 4]
    assert [state for _, state in found[7:]] == ["refused"]
    await runs.wish("default", "fast", "stop", "test")
    assert [state for _, state in (await told())[8:]] == ["stopping", "idle"]
    with pytest.raises(ZeroDivisionError):
        await bench.store.write(lambda c: attempts.end_in(c, dial, "busy", "", 0.0) / 0)
    assert len(await told()) == 10


async def test_a_run_of_one_lead_calls_one(bench: Bench) -> None:
    runs = await bench.start(3, mode="one")

    assert isinstance(await take(runs), Taken)
    bench.now += 1

    assert await take(runs) == Nothing("not_running")


async def test_a_campaign_runs_once_at_a_time(bench: Bench) -> None:
    await bench.start(1)

    with pytest.raises(RunRefused, match="not_idle"):
        await bench.start(1)
