"""Campaigns that run, against rooms that a test fills."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from personas.sources.files import shipped
from router.campaigns.gate import GateVerdict
from router.campaigns.model import Campaign, read_campaign
from router.db import Store
from router.dialer import ORDER_S, ORDER_SLACK_S, Dialer, persona_for
from router.engine import OWNER_S, Engine
from router.errors import DispatchRefused, DispatchUnknown, RunRefused
from router.records.attempts import Attempt, Attempts
from router.records.calls import Calls
from router.records.campaigns import Campaigns
from router.records.do_not_call import DoNotCall
from router.records.leads import Leads
from router.records.outcomes import AttemptFilter, Outcomes
from router.records.runs import Capacity, Runs, Taken
from router.routing import Event, Participant
from tests.fakes_dialing import FakeLine, report

CAMPAIGN = read_campaign(
    {
        "name": "Spring",
        "agent_text": "You call [Prospect Name].",
        "session_text": "Hello [Prospect Name]!",
        "calls_per_second": 100,
        "trunk_id": "ST_one",
        "caller_number": "+14155550100",
        "retries": {"busy": {"times": 1, "after_s": 600}},
    }
)


@dataclass
class Desk:
    """Routers that share a database, and what they dial through."""

    store: Store
    line: FakeLine = field(default_factory=FakeLine)
    now: float = 1_000.0
    refused: dict[str, GateVerdict] = field(default_factory=dict)
    campaign: Campaign = CAMPAIGN
    made: int = 0

    def clock(self) -> float:
        return self.now

    def _id(self) -> str:
        self.made += 1
        return f"{self.made:032x}"

    def engine(self, owner: str = "one") -> Engine:
        attempts = Attempts(
            self.store,
            clock=self.clock,
            new_id=self._id,
            owner=owner,
            judge=lambda _c, order, _at: self.refused.get(
                order.lead.phone, GateVerdict(True, "allowed")
            ),
        )
        calls = Calls(self.store, clock=self.clock)
        runs = Runs(
            self.store,
            attempts,
            clock=self.clock,
            new_id=self._id,
            capacity=Capacity(calls=100, reserved=10),
        )
        dialer = Dialer(
            attempts=attempts,
            livekit=self.line,
            house=lambda: shipped("house"),
            clock=self.clock,
            note_call=calls.dispatched,
        )
        return Engine(
            store=self.store,
            runs=runs,
            attempts=attempts,
            campaigns=Campaigns(self.store, clock=self.clock, files=lambda: [self.campaign]),
            leads=Leads(self.store, clock=self.clock, region="US"),
            calls=calls,
            dialer=dialer,
            clock=self.clock,
            monotonic=self.clock,
        )

    async def rings(self, engine: Engine) -> Attempt:
        """Have one lead be called, who has not picked up yet."""
        await engine.start("spring", mode="one")
        await self.turns(engine)
        return await self.only()

    async def turns(self, engine: Engine, count: int = 1, step_s: float = 1.0) -> None:
        """Let *engine* work, and what it has begun be done."""
        for _ in range(count):
            await engine.turn()
            await engine.placed()
            self.now += step_s

    async def attempts(self) -> Sequence[Attempt]:
        return (await Outcomes(self.store).page(AttemptFilter(tenant="default"))).rows

    async def only(self) -> Attempt:
        [attempt] = await self.attempts()
        return attempt


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = await Store(f"sqlite:///{tmp_path / 'router.db'}").open()
    desk = Desk(store)
    rows = "phone,prospect_name\n+13125550100,Ann\n+13125550101,Ben\n+13125550102,Cem\n"
    await Leads(store, clock=desk.clock, region="US").add("default", "leads.csv", rows.encode())
    await Leads(store, clock=desk.clock, region="US").select("default", "leads.csv")
    yield desk
    await store.aclose()


async def test_a_campaign_calls_its_list_and_is_idle_when_all_is_over(desk: Desk) -> None:
    engine = desk.engine()
    await engine.start("spring", by="test")
    await desk.turns(engine, 4)

    assert desk.line.dialed == ["+13125550100", "+13125550101", "+13125550102"]
    for order in desk.line.orders:
        desk.line.show(order["_call"]["room"])
    status = await engine.status("spring")
    assert (status.state, len(status.current)) == ("running", 3)
    for order in desk.line.orders:
        await engine.heard(report(order["_call"]["call_id"], "no_answer"))
    await desk.turns(engine, 2)

    status = await engine.status("spring")
    assert (status.state, status.counts, status.current) == ("idle", {"no_answer": 3}, ())


async def test_a_run_that_is_to_begin_later_begins_then_whichever_router_runs(desk: Desk) -> None:
    await desk.engine("first").start("spring", at=desk.now + 600)
    other = desk.engine("other")

    await desk.turns(other, 2)
    assert desk.line.dialed == []
    desk.now += 600
    await desk.turns(other)

    assert desk.line.dialed == ["+13125550100"]


async def test_the_agent_is_told_whom_to_dial_as_whom_and_what_to_say(desk: Desk) -> None:
    engine = desk.engine()
    await engine.start("spring", mode="one")
    await desk.turns(engine)

    [order] = desk.line.orders
    call = order["_call"]
    attempt = await desk.only()
    assert order["personality"] == "You call [Prospect Name]."
    assert order["welcome_message"] == "This is an automated assistant. Hello [Prospect Name]!"
    assert call["variables"]["name"] == "Ann"
    assert (call["direction"], call["campaign_id"], call["lead_id"]) == (
        "outbound",
        "spring",
        attempt.lead_id,
    )
    assert call["dial"] == {
        "number": "+13125550100",
        "trunk_id": "ST_one",
        "identity": f"out-{attempt.attempt_id}",
        "caller_number": "+14155550100",
        "not_after": call["dial"]["not_after"],
    }
    await desk.store.flush()
    record = await engine.calls.get(attempt.attempt_id, "default")
    assert record is not None
    assert (record.direction, record.campaign_id) == ("outbound", "spring")


async def test_busy_leads_are_called_again_and_others_are_not(desk: Desk) -> None:
    engine = desk.engine()
    await engine.start("spring")
    await desk.turns(engine, 4)
    busy, declined, silent = (one["_call"]["call_id"] for one in desk.line.orders)
    await engine.heard(report(busy, "busy"))
    await engine.heard(report(declined, "declined"))
    await engine.heard(report(silent, "no_answer"))

    await desk.turns(engine, 2)
    status = await engine.status("spring")
    assert (status.state, status.waiting, len(desk.line.orders)) == ("running", 1, 3)
    await desk.turns(engine, 2, step_s=600)

    assert desk.line.dialed[3:] == ["+13125550100"]


async def test_a_call_that_was_answered_is_seen_so_and_over_when_its_room_is(desk: Desk) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    desk.line.show(attempt.room, callee="active")

    await desk.turns(engine)
    assert (await desk.only()).state == "answered"
    desk.line.rooms.clear()
    await desk.turns(engine, 2, step_s=40)

    ended = await desk.only()
    assert (ended.state, ended.because, ended.is_open) == ("answered", "the room is gone", False)


async def test_when_no_agent_comes_nobody_was_called(desk: Desk) -> None:
    engine = desk.engine()
    await engine.start("spring", mode="one")
    await desk.turns(engine, 3, step_s=20)

    ended = await desk.only()
    assert (ended.state, ended.because) == ("failed", "no agent came")
    assert desk.line.ended == [ended.room]


async def test_a_phone_that_rings_without_an_agent_is_hung_up(desk: Desk) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    desk.line.show(attempt.room, agent=False)
    await desk.turns(engine, 4, step_s=4)

    ended = await desk.only()
    assert (ended.state, ended.because) == ("canceled", "the agent was lost while it rang")
    assert desk.line.removed == [ended.identity]


async def test_what_a_dead_router_dialed_is_looked_at_and_never_dialed_again(desk: Desk) -> None:
    dead = desk.engine("dead")
    await dead.start("spring", mode="one")
    await desk.turns(dead)
    attempt = await desk.only()
    desk.line.show(attempt.room, callee="active")
    desk.now += OWNER_S + 1

    other = desk.engine("other")
    await desk.turns(other, 2)

    found = await desk.only()
    assert (found.state, found.owner, len(desk.line.orders)) == ("answered", "other", 1)


async def test_what_nobody_can_tell_any_more_is_uncertain_until_its_agent_reports(
    desk: Desk,
) -> None:
    dead = desk.engine("dead")
    await dead.start("spring", mode="one")
    await desk.turns(dead)
    desk.now += OWNER_S + 1

    other = desk.engine("other")
    await desk.turns(other, 3, step_s=31)
    found = await desk.only()
    assert (found.state, len(desk.line.orders)) == ("uncertain", 1)

    await other.heard(report(found.attempt_id, "declined"))
    assert (await desk.only()).state == "declined"


async def test_what_nobody_can_tell_is_resolved_though_who_looks_dies_again_and_again(
    desk: Desk,
) -> None:
    dead = desk.engine("dead")
    await dead.start("spring", mode="one")
    await desk.turns(dead)

    for life in range(4):  # none of them lives as long as a report is waited for
        desk.now += OWNER_S + 1
        await desk.turns(desk.engine(f"life {life}"), 2)

    found = await desk.only()
    assert (found.state, len(desk.line.orders)) == ("uncertain", 1)


def event(name: str, room: str, who: Participant | None = None) -> Event:
    return Event(f"EV_{name}", name, 1.0, room, "RM_1", who)


async def test_what_livekits_events_told_any_router_resolves_a_call_that_nobody_saw(
    desk: Desk,
) -> None:
    dead = desk.engine("dead")
    await dead.start("spring", mode="one")
    await desk.turns(dead)
    attempt = await desk.only()
    room = attempt.room
    left = Participant("PA_c", room, "SIP", {}, left_because="USER_UNAVAILABLE")
    other = desk.engine("other")

    for told in (
        event("participant_joined", room, Participant("PA_a", "agent-x", "AGENT", {})),
        event("participant_left", room, left),
        event("participant_left", "out-1", left),
        event("track_published", room),
    ):
        other.noticed(told)
    desk.now += OWNER_S + 1
    await desk.turns(other, 3, step_s=31)

    found = await desk.only()
    assert (found.state, found.because) == ("no_answer", "LiveKit told how the callee left")
    assert found.heard.agent_seen_at is not None
    assert len(desk.line.orders) == 1


async def test_a_room_that_has_finished_is_over_though_livekit_does_not_answer(desk: Desk) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    desk.line.show(attempt.room, callee="active")
    await desk.turns(engine)
    desk.line.away = True
    await desk.turns(engine, 2, step_s=40)
    assert (await desk.only()).is_open

    engine.noticed(event("room_finished", attempt.room))
    await desk.turns(engine)

    ended = await desk.only()
    assert (ended.state, ended.because) == ("answered", "the room is gone")


async def test_events_are_kept_while_the_database_is_away(desk: Desk, tmp_path: Path) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    agent = Participant("PA_a", "agent-x", "AGENT", {})
    engine.noticed(event("participant_joined", attempt.room, agent))
    written = engine.attempts
    away = await Store(f"sqlite:///{tmp_path / 'other.db'}").open()
    await away.aclose()
    engine.attempts = Attempts(
        away,
        clock=desk.clock,
        new_id=str,
        owner="one",
        judge=lambda *_: GateVerdict(False, "gate_failed"),
    )

    await desk.turns(engine)
    engine.noticed(event("room_finished", attempt.room))
    engine.attempts = written
    await desk.turns(engine)

    told = (await desk.only()).heard
    assert (told.agent_seen_at, told.room_gone_at) == (1_001.0, 1_002.0)


async def test_what_a_dead_router_never_sent_is_called_by_another(desk: Desk) -> None:
    dead = desk.engine("dead")
    await dead.start("spring", mode="next")
    run = await dead.runs.find("default", "spring")
    assert run is not None
    known = await dead.campaigns.find("default", "spring")
    assert known is not None
    claimed = await dead.runs.next(
        "default",
        "spring",
        lambda found, of, tries: dead.order(
            known, found, tenant="default", list_id=of.list_id, run_id=of.run_id, tries=tries
        ),
    )
    assert isinstance(claimed, Taken)
    desk.now += OWNER_S + 1

    other = desk.engine("other")
    await desk.turns(other, 2)

    assert desk.line.dialed == ["+13125550100"]
    assert not await dead.attempts.dialing(claimed.attempt.attempt_id)


async def test_stopping_now_hangs_up_and_pausing_does_not(desk: Desk) -> None:
    engine = desk.engine()
    await engine.start("spring", mode="next")
    await desk.turns(engine)
    attempt = await desk.only()
    desk.line.show(attempt.room)

    assert (await engine.pause("spring")).state == "pausing"
    assert desk.line.removed == []
    assert (await engine.stop("spring", now=True)).state == "idle"

    assert desk.line.removed == [attempt.identity]
    assert (await desk.only()).state == "canceled"


async def test_what_is_hung_up_before_its_agent_dialed_is_hung_up_until_no_agent_may_dial(
    desk: Desk,
) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    await engine.dialer.hang_up(attempt.attempt_id, "an opt-out")
    assert (await desk.only()).is_open

    desk.line.show(attempt.room)  # the agent was on its way, and has dialed
    await desk.turns(engine)

    assert desk.line.removed[-1] == attempt.identity
    ended = await desk.only()
    assert (ended.state, ended.because) == ("canceled", "an opt-out")


async def test_an_agent_that_never_came_is_not_waited_for_after_hanging_up(desk: Desk) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    await engine.dialer.hang_up(attempt.attempt_id, "an opt-out")
    desk.now += ORDER_S + ORDER_SLACK_S

    await desk.turns(engine)

    assert (await desk.only()).state == "canceled"


async def test_what_an_agent_says_of_a_call_that_was_cut_off_is_that_it_was_canceled(
    desk: Desk,
) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    await engine.dialer.hang_up(attempt.attempt_id, "an opt-out")

    await engine.heard(report(attempt.attempt_id, "uncertain"))

    assert (await desk.only()).state == "canceled"


async def test_a_wish_to_hang_up_outlives_a_livekit_that_is_away(desk: Desk) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    desk.line.show(attempt.room)
    desk.line.away = True
    await engine.dialer.hang_up(attempt.attempt_id, "an opt-out")
    assert (await desk.only()).is_open
    desk.line.away = False

    await desk.turns(engine)

    ended = await desk.only()
    assert (ended.state, ended.because) == ("canceled", "an opt-out")


@pytest.mark.parametrize(
    ("failure", "state"),
    [(DispatchRefused("no"), "failed"), (DispatchUnknown("timeout"), "dialing")],
)
async def test_a_dispatch_that_may_have_been_done_is_not_done_again(
    desk: Desk, failure: Any, state: str
) -> None:
    engine = desk.engine()
    desk.line.failing = failure
    await engine.start("spring", mode="one")
    await desk.turns(engine)
    desk.line.failing = None
    await desk.turns(engine, 3)

    assert (await desk.only()).state == state
    assert desk.line.orders == []


async def test_a_campaign_whose_calls_all_fail_is_left_alone_for_a_while(desk: Desk) -> None:
    rows = "phone\n" + "".join(f"+1312555{number:04}\n" for number in range(110, 150))
    await Leads(desk.store, clock=desk.clock, region="US").add("default", "l.csv", rows.encode())
    engine = desk.engine()
    desk.line.failing = DispatchRefused("no")
    await engine.start("spring", list_name="l.csv")
    await desk.turns(engine, 20, step_s=0.1)

    assert "campaign spring" in (await engine.status("spring")).tripped
    failed = len(await desk.attempts())
    assert failed < 20
    await desk.turns(engine, 2, step_s=31)

    assert len(await desk.attempts()) > failed


async def test_editing_a_campaign_counts_from_the_next_lead_and_is_recorded(desk: Desk) -> None:
    engine = desk.engine()
    await engine.start("spring", mode="next")
    await desk.turns(engine)
    desk.campaign = CAMPAIGN.model_copy(update={"session_text": "Good day!"})
    await engine.heard(report(desk.line.orders[0]["_call"]["call_id"], "no_answer"))
    await desk.turns(engine, 2)

    assert [one["welcome_message"] for one in desk.line.orders] == [
        "This is an automated assistant. Hello [Prospect Name]!",
        "This is an automated assistant. Good day!",
    ]
    versions = {one.campaign_version for one in await desk.attempts()}
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"campaign_key": "none"}, "no_such_campaign"),
        ({"campaign_key": "spring", "list_name": "none.csv"}, "no_list"),
        ({"campaign_key": "spring", "position": 4}, "no_lead"),
    ],
)
async def test_what_cannot_be_started_says_why(
    desk: Desk, wanted: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RunRefused, match=reason):
        await desk.engine().start(**wanted)


def test_a_lead_keeps_its_persona_and_weights_count() -> None:
    campaign = read_campaign(
        {"name": "Two", "personas": [{"id": "often", "weight": 3}, {"id": "rare"}]}
    )
    chosen = [persona_for(campaign, f"+1312555{number:04}") for number in range(2_000)]

    assert chosen == [persona_for(campaign, f"+1312555{number:04}") for number in range(2_000)]
    assert 0.70 < chosen.count("often") / 2_000 < 0.80


async def test_dials_that_are_over_are_counted_once(desk: Desk) -> None:
    engine, other = desk.engine(), desk.engine("two")
    await engine.start("spring")
    await desk.turns(engine, 4)
    declined, silent, _ = (one["_call"]["call_id"] for one in desk.line.orders)
    await engine.heard(report(declined, "declined"))
    await engine.heard(report(silent, "no_answer"))
    await desk.turns(engine)
    await desk.turns(other)

    def counted(of: Engine, name: str, **labels: str) -> float | None:
        return of.metrics.registry.get_sample_value(f"persona_router_{name}", labels)

    assert counted(engine, "attempts_total", state="declined") == 1
    assert counted(engine, "attempts_total", state="no_answer") == 1
    assert counted(other, "attempts_total", state="no_answer") == 0
    assert counted(other, "attempts_open") == 1
    assert counted(other, "dialer_timestamp_seconds") == desk.now - 1.0


async def test_a_phone_that_rings_is_hung_up_in_the_turn_after_an_opt_out(desk: Desk) -> None:
    engine = desk.engine()
    attempt = await desk.rings(engine)
    desk.line.show(attempt.room)
    await desk.turns(engine)
    assert desk.line.removed == []

    await DoNotCall(desk.store, clock=desk.clock).add(attempt.number, source="call")
    await desk.turns(desk.engine("another"))

    assert desk.line.removed == [attempt.identity]
    assert desk.line.ended == [attempt.room]
    ended = await desk.only()
    assert (ended.state, ended.because) == ("canceled", "asked not to be called")
