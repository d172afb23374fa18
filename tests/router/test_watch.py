"""The sweep: LiveKit's rooms are made up; claims, leases, lookup and database are real."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from personas.lookup import PersonaLookup
from router.db import Store
from router.demo.deliveries import caller_attributes
from router.errors import DispatchUnknown, LiveKitUnavailable
from router.inbound import InboundCalls
from router.metrics import Metrics
from router.records.claims import Claims, SpareClaims
from router.records.leases import Lease
from router.records.owed import Owed
from router.recovery import Limits
from router.routing import NumberingPlan, Participant
from router.trunks import Trunks
from router.watch import OTHER_AFTER_S, VANISHED_AFTER_S, WELL_EVERY_S, Watch
from tests.fakes import FakeDispatcher, FakeTrunkDirectory
from tests.fakes_personas import HOUSE, FakePersonaApi, until

DID = "+13125550100"
CALLER = Participant("PA_1", "sip_1", "SIP", caller_attributes(number=DID, call_id="SCL_1"))


def agent(attempt: int = 1, beat: str = "1") -> Participant:
    attributes = {"persona.attempt": str(attempt), "persona.beat": beat}
    return Participant(f"PA_a{attempt}", f"agent-{attempt}", "AGENT", attributes)


@dataclass
class FakeRooms:
    """LiveKit's rooms, by sid; ``failing`` is raised instead of any answer."""

    people: dict[str, list[Participant]] = field(default_factory=dict)
    failing: LiveKitUnavailable | None = None
    looked: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def rooms(self) -> Mapping[str, str]:
        if self.failing is not None:
            raise self.failing
        return {sid: f"call-{sid}" for sid in self.people}

    async def participants(self, room: str) -> Sequence[Participant]:
        self.looked.append(room)
        if room.removeprefix("call-") not in self.people:
            raise LiveKitUnavailable("not_found")
        return list(self.people[room.removeprefix("call-")])

    async def remove(self, room: str, identity: str) -> None:
        self.removed.append(identity)
        there = self.people[room.removeprefix("call-")]
        there[:] = [one for one in there if one.identity != identity]

    async def withdraw(self, room: str) -> int:
        self.withdrawn.append(room)
        return 1

    async def end(self, room: str) -> None:
        self.ended.append(room)
        del self.people[room.removeprefix("call-")]


class Bench:
    """Watches on one database, under one clock, over one LiveKit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rooms = FakeRooms()
        self.dispatcher = FakeDispatcher()
        self.metrics = Metrics()
        self.lookup = PersonaLookup(house=HOUSE, source=FakePersonaApi())
        self.now = 1_800_000_000.0
        self.ids = itertools.count(1)

    def clock(self) -> float:
        return self.now

    def watch(self, owner: str = "router-1", fallback_agent: str | None = None) -> Watch:
        claims = Claims(
            self.store,
            owner=owner,
            lease_s=6.0,
            clock=self.clock,
            new_id=lambda: f"call-{next(self.ids)}",
        )
        inbound = InboundCalls(
            trunks=Trunks(NumberingPlan(), FakeTrunkDirectory(), clock=self.clock),
            claims=claims,
            spare=SpareClaims(lambda: "spare"),
            owed=Owed(self.store, owner=owner, clock=self.clock),
            personas=self.lookup,
            dispatcher=self.dispatcher,
            metrics=self.metrics,
            clock=self.clock,
        )
        return Watch(
            livekit=self.rooms,
            claims=claims,
            lease=Lease(self.store, "sweep", owner=owner, for_s=2.5, clock=self.clock),
            inbound=inbound,
            metrics=self.metrics,
            limits=Limits(),
            fallback_agent=fallback_agent,
            clock=self.clock,
            monotonic=self.clock,
        )

    async def sweep(self, watch: Watch, *, after_s: float = 0.0) -> None:
        """Sweep after a while, and let what it began come to its end."""
        self.now += after_s
        await watch.sweep()
        await until(lambda: not watch.mending)
        await self.store.write(lambda _: None)  # what was to be written soon is written before it

    def did(self, action: str) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "persona_router_recoveries_total", {"action": action}
            )
            or 0.0
        )

    async def states(self) -> list[str]:
        return [call.state for call in await self.watch().claims.watched()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = await Store(f"sqlite:///{tmp_path / 'calls.db'}").open()
    bench = Bench(store)
    yield bench
    await bench.lookup.aclose()
    await store.aclose()


async def ring(bench: Bench, watch: Watch, sid: str = "RM_1") -> None:
    """A caller whose webhook is lost rings, and is found."""
    bench.rooms.people[sid] = [CALLER]
    await bench.sweep(watch)
    await bench.sweep(watch, after_s=1.0)


async def test_a_caller_whose_webhook_never_came_is_answered(bench: Bench) -> None:
    watch = bench.watch()

    await ring(bench, watch)

    [sent] = bench.dispatcher.sent
    assert sent.room == "call-RM_1"
    assert sent.metadata["personality"] == f"You answer for {DID}."
    assert bench.did("adopted") == 1


async def test_two_sweeping_replicas_send_one_agent(bench: Bench) -> None:
    bench.rooms.people["RM_1"] = [CALLER]
    watches = [bench.watch("router-1"), bench.watch("router-2")]

    for after_s in (0.0, 1.0):
        bench.now += after_s
        await asyncio.gather(*(watch.sweep() for watch in watches))
        await until(lambda: not any(watch.mending for watch in watches))

    assert len(bench.dispatcher.sent) == 1


async def test_an_agent_that_comes_confirms_the_call(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)

    bench.rooms.people["RM_1"].append(agent())
    await bench.sweep(watch, after_s=0.5)

    assert await bench.states() == ["answered"]


async def test_an_agent_that_does_not_come_is_followed_by_the_next_attempt(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)

    await bench.sweep(watch, after_s=3.0)

    assert [sent.attributes["persona.attempt"] for sent in bench.dispatcher.sent] == ["1", "2"]
    assert bench.rooms.withdrawn == ["call-RM_1"]
    assert bench.did("dispatched_again") == 1


async def test_a_dispatch_of_unknown_outcome_is_resolved_by_looking(bench: Bench) -> None:
    watch = bench.watch()
    bench.dispatcher.failing = DispatchUnknown("timeout")
    await ring(bench, watch)
    bench.dispatcher.failing = None
    unknown = await bench.states()

    await bench.sweep(watch, after_s=3.0)

    assert unknown == ["unknown"]
    assert [sent.attributes["persona.attempt"] for sent in bench.dispatcher.sent] == ["2"]


async def test_a_dispatch_of_unknown_outcome_that_was_done_is_not_repeated(bench: Bench) -> None:
    watch = bench.watch()
    bench.dispatcher.failing = DispatchUnknown("timeout")
    await ring(bench, watch)
    bench.dispatcher.failing = None
    bench.rooms.people["RM_1"].append(agent())

    await bench.sweep(watch, after_s=3.0)

    assert bench.dispatcher.sent == []
    assert await bench.states() == ["answered"]


async def test_time_after_time_without_an_agent_ends_with_the_fallback_and_the_ringing(
    bench: Bench,
) -> None:
    watch = bench.watch(fallback_agent="night-desk")
    await ring(bench, watch)

    for _ in range(60):
        await bench.sweep(watch, after_s=1.0)

    names = [sent.agent_name for sent in bench.dispatcher.sent]
    assert names == [None, None, None, None, None, "night-desk"]
    assert bench.rooms.removed == ["sip_1"]
    assert bench.did("given_up") == 1
    assert await bench.states() == []


async def test_an_agent_that_left_its_caller_is_replaced_and_told_to_resume(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"].append(agent())
    await bench.sweep(watch)
    bench.rooms.people["RM_1"].pop()
    await bench.sweep(watch, after_s=WELL_EVERY_S)

    await bench.sweep(watch, after_s=3.0)

    resumed = bench.dispatcher.sent[-1]
    assert resumed.attributes["persona.attempt"] == "2"
    assert resumed.metadata["_call"]["resume"] is True
    assert resumed.metadata["_call"]["call_id"] == "call-1"


async def test_a_frozen_agent_is_removed_first(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"].append(agent())

    for _ in range(5):
        await bench.sweep(watch, after_s=WELL_EVERY_S)

    assert bench.rooms.removed == ["agent-1"]
    assert len(bench.dispatcher.sent) == 2
    assert bench.did("resumed") == 1


async def test_a_room_that_only_an_agent_is_in_is_ended(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"] = [agent()]
    await bench.sweep(watch, after_s=1.0)

    await bench.sweep(watch, after_s=10.0)

    assert bench.rooms.ended == ["call-RM_1"]
    assert await bench.states() == []
    assert len(bench.dispatcher.sent) == 1


async def test_the_claim_of_a_room_that_vanished_is_ended(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people.clear()

    await bench.sweep(watch, after_s=VANISHED_AFTER_S + 0.1)

    assert await bench.states() == []


async def test_rooms_that_are_well_or_no_calls_are_looked_at_less_often(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"].append(agent())
    bench.rooms.people["RM_2"] = []
    for _ in range(int(OTHER_AFTER_S) + 2):
        bench.rooms.people["RM_1"][-1] = agent(beat=str(bench.now))
        await bench.sweep(watch, after_s=1.0)
    bench.rooms.looked.clear()

    for _ in range(10):
        bench.rooms.people["RM_1"][-1] = agent(beat=str(bench.now))
        await bench.sweep(watch, after_s=1.0)

    assert bench.rooms.looked.count("call-RM_1") == 5
    assert bench.rooms.looked.count("call-RM_2") == 2


async def test_one_replica_sweeps_and_another_takes_over(bench: Bench) -> None:
    first, second = bench.watch("router-1"), bench.watch("router-2")
    bench.rooms.people["RM_1"] = [CALLER]

    await first.turn()
    await second.turn()
    looked = len(bench.rooms.looked)
    bench.now += 2.5
    await second.turn()

    assert looked == 1
    assert len(bench.rooms.looked) == 2


async def test_a_sweep_that_fails_is_counted_and_the_next_one_goes_on(bench: Bench) -> None:
    watch = bench.watch()
    bench.rooms.failing = LiveKitUnavailable("timeout")
    await watch.turn()
    bench.rooms.failing = None

    await ring(bench, watch)

    assert bench.did("sweep_failed") == 1
    assert len(bench.dispatcher.sent) == 1


async def test_a_watch_that_is_stopped_gives_its_lease_up(bench: Bench) -> None:
    running = asyncio.create_task(bench.watch("router-1").run())
    bench.rooms.people["RM_1"] = []
    await until(lambda: bool(bench.rooms.looked))

    running.cancel()
    await asyncio.wait({running})

    assert await bench.watch("router-2").lease.hold()
