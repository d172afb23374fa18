"""The sweep: LiveKit's rooms are made up; claims, leases, lookup and database are real."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from personas.lookup import PersonaLookup
from personas.reports import CallReport, Fact, numbered
from router.db import Store
from router.demo.deliveries import caller_attributes, joined
from router.errors import (
    DispatchRefused,
    DispatchUnknown,
    LiveKitUnavailable,
)
from router.inbound import InboundCalls
from router.lastresort.desk import LastResort
from router.metrics import Metrics
from router.recall import Recall
from router.records.calls import Calls
from router.records.claims import Claims, SpareClaims
from router.records.entries import Entry, failed_calls, of_room
from router.records.journal import Journal
from router.records.leases import Lease
from router.records.owed import Owed
from router.records.snapshots import snapshots
from router.records.trace import trace_of
from router.recovery import Limits
from router.routing import NumberingPlan, Participant
from router.trunks import Trunks
from router.watch import OTHER_AFTER_S, VANISHED_AFTER_S, WELL_EVERY_S, Watch
from tests.fakes import FakeDispatcher, FakeTrunkDirectory
from tests.fakes_personas import HOUSE, FakePersonaApi, until

LINE = Path(__file__).parent / "lastresort" / "fake_line.py"
DID = "+13125550100"
OTHER = caller_attributes(number=DID, call_id="SCL_2")
CALLER = Participant("PA_1", "sip_1", "SIP", caller_attributes(number=DID, call_id="SCL_1"))


def agent(
    attempt: int = 1, beat: str = "1", call_id: str = "", origin: str = "api", version: str = ""
) -> Participant:
    attributes = {"persona.attempt": str(attempt), "persona.beat": beat, "persona.origin": origin}
    attributes |= {"persona.call": call_id} if call_id else {}
    attributes |= {"persona.version": version} if version else {}
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

    url = "ws://127.0.0.1:9"

    def join_token(self, room: str, identity: str) -> str:
        return "a token"

    async def transfer(self, room: str, identity: str, to: str) -> None:
        raise LiveKitUnavailable("internal")

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
        self.journal = Journal(store, max_rows=1_000, days=7, clock=self.clock)

    def clock(self) -> float:
        return self.now

    def watch(
        self,
        owner: str = "router-1",
        fallback_agent: str | None = None,
        *,
        last_resort: str | None = None,
    ) -> Watch:
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
            last_resort=LastResort(
                livekit=self.rooms,
                claims=claims,
                metrics=self.metrics,
                most=1,
                command=(sys.executable, str(LINE), last_resort),
            )
            if last_resort
            else None,
            note=self.journal.note,
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

    async def entries(self, sid: str = "RM_1") -> list[Entry]:
        await self.journal.write()
        return await of_room(self.store, sid)

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


async def test_where_no_agent_comes_the_router_itself_answers_before_it_gives_up(
    bench: Bench,
) -> None:
    watch = bench.watch(fallback_agent="night-desk", last_resort="well")
    await ring(bench, watch)

    for _ in range(60):
        await bench.sweep(watch, after_s=1.0)

    assert len(bench.dispatcher.sent) == 6
    assert bench.rooms.ended == ["call-RM_1"]
    assert (bench.did("last_resort"), bench.did("given_up")) == (1, 0)
    last = (await bench.entries())[-1]
    assert (last.event, last.verdict, last.attempt) == ("watch.last_resort", "last_resort", 7)
    assert last.because.endswith("; the house recording was played by the router itself")


async def test_a_last_resort_does_not_keep_other_callers_waiting(bench: Bench) -> None:
    watch = bench.watch(last_resort="mute")
    await ring(bench, watch)
    while not bench.did("last_resort"):
        bench.now += 1.0
        await watch.sweep()
        await until(lambda: not watch.mending or bool(bench.did("last_resort")))

    bench.rooms.people["RM_2"] = [CALLER._replace(attributes=OTHER)]
    for after_s in (0.0, 1.0):
        bench.now += after_s
        await watch.sweep()
    await until(lambda: bench.dispatcher.sent[-1].room == "call-RM_2")

    assert bench.did("last_resort") == 1
    for task in watch.mending:
        task.cancel()
    await asyncio.wait(watch.mending)


async def test_what_the_watch_does_is_in_the_journal_and_explained(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    await bench.sweep(watch, after_s=3.0)
    came = agent(attempt=2, call_id="call-1")
    bench.rooms.people["RM_1"].append(came._replace(joined_at=bench.now + 0.4))
    await bench.sweep(watch, after_s=0.5)
    bench.rooms.people["RM_1"].pop()
    await bench.sweep(watch, after_s=WELL_EVERY_S)
    await bench.sweep(watch, after_s=3.0)

    entries = await bench.entries()
    trace = await trace_of(bench.store, "call-1")

    assert [(one.event, one.status, one.verdict) for one in entries] == [
        ("watch.adopted", 0, "dispatched"),
        ("watch.dispatched_again", 0, "dispatched"),
        ("watch.confirmed", 0, "confirmed"),
        ("watch.resumed", 0, "dispatched"),
    ]
    assert await failed_calls(bench.store, 10) == []
    assert trace is not None
    assert [(one.action, one.attempt) for one in trace.watch] == [
        ("adopted", 1),
        ("dispatched_again", 2),
        ("confirmed", 2),
        ("resumed", 3),
    ]
    assert trace.watch[0].because.startswith("no webhook has come for a caller; ")
    assert trace.deliveries == 0
    stages = {stage.name: stage for stage in trace.stages}
    assert stages["watch: dispatched_again"].ms == 3000.0
    assert stages["agent joined"].ms == pytest.approx(400, abs=100)
    assert trace.slowest == "watch: dispatched_again"


async def test_a_call_that_is_given_up_says_so_in_the_journal(bench: Bench) -> None:
    watch = bench.watch()
    await ring(bench, watch)

    for _ in range(60):
        await bench.sweep(watch, after_s=1.0)

    last = (await bench.entries())[-1]
    assert (last.event, last.attempt) == ("watch.given_up", 5)
    assert last.because == "no agent has come, time after time"


async def test_an_agent_that_speaks_as_the_house_though_it_was_sent_another_is_told_once(
    bench: Bench,
) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    strange = agent(call_id="call-1", origin="house", version="sha256:other")
    bench.rooms.people["RM_1"].append(strange)

    for _ in range(3):
        await bench.sweep(watch, after_s=1.0)

    assert bench.did("mismatched") == 1
    assert [one.event for one in await bench.entries()].count("watch.mismatched") == 1


async def test_a_call_goes_on_with_the_persona_that_it_began_with(bench: Bench) -> None:
    api = FakePersonaApi()
    bench.lookup = PersonaLookup(house=HOUSE, source=api)
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"].append(agent())
    await bench.sweep(watch)
    bench.lookup = PersonaLookup(house=HOUSE)  # today there is another
    watch = bench.watch("router-2")
    bench.rooms.people["RM_1"].pop()
    for after_s in (0.0, 3.0):
        await bench.sweep(watch, after_s=after_s)

    first, resumed = (sent.metadata for sent in bench.dispatcher.sent)
    assert resumed["_call"]["resume"] is True
    assert resumed["personality"] == first["personality"]
    origin = resumed["_call"]["origin"]
    assert origin["version"] == first["_call"]["origin"]["version"]
    assert origin["source"] == "api"
    assert origin["because"].endswith("the call goes on with the persona that it began with")


async def test_the_next_agent_knows_what_the_caller_told_the_last(bench: Bench) -> None:
    watch = bench.watch()
    calls = Calls(bench.store, clock=bench.clock)
    watch.inbound = replace(watch.inbound, recall=Recall(calls))
    await ring(bench, watch)
    call_id = bench.dispatcher.sent[0].metadata["_call"]["call_id"]
    fact = Fact(id="f1", category="contact_details", information="calls from Ulm")
    events = (numbered(fact, seq=1, attempt=1, at=1.0),)
    await calls.take(CallReport(call_id=call_id, events=events))
    bench.rooms.people["RM_1"].append(agent())
    await bench.sweep(watch)
    bench.rooms.people["RM_1"].pop()
    for after_s in (WELL_EVERY_S, 3.0):
        await bench.sweep(watch, after_s=after_s)

    first, resumed = (sent.metadata["_call"]["memory"] for sent in bench.dispatcher.sent)
    assert first == []
    assert resumed == [{"category": "contact_details", "information": "calls from Ulm", "at": 1.0}]


async def test_where_the_persona_of_before_is_lost_todays_speaks_and_that_is_logged(
    bench: Bench,
) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"].append(agent())
    await bench.sweep(watch)
    await bench.store.write(lambda connection: connection.execute(sa.delete(snapshots)))
    bench.lookup = PersonaLookup(house=HOUSE)
    watch = bench.watch("router-2")
    bench.rooms.people["RM_1"].pop()

    with structlog.testing.capture_logs() as logs:
        for after_s in (0.0, 3.0):
            await bench.sweep(watch, after_s=after_s)

    assert bench.dispatcher.sent[-1].metadata["_call"]["origin"]["source"] == "house"
    assert [line for line in logs if line["event"] == "snapshot.missing"]


async def test_a_call_of_which_all_five_deliveries_failed_is_answered_by_the_sweep(
    bench: Bench,
) -> None:
    """For ten seconds neither database nor LiveKit's dispatches are to be had."""
    watch = bench.watch()
    bench.rooms.people["RM_1"] = [CALLER]
    bench.dispatcher.failing = DispatchRefused("not_reached")
    delivery = joined(number=DID, room="call-RM_1")._replace(room_sid="RM_1")
    away = Store("postgresql://127.0.0.1:9/none")  # never opened: whatever is asked fails
    claims = Claims(away, owner="router-1", lease_s=6.0, clock=bench.clock, new_id=lambda: "x")
    inbound = replace(watch.inbound, claims=claims)

    verdicts = []
    for _ in range(5):  # LiveKit's tries, a second apart as we tell it
        verdicts.append((await inbound.take(delivery)).verdict)
        bench.now += 1.0
    await away.aclose()
    bench.now += 5.0
    bench.dispatcher.failing = None
    for after_s in (0.0, 1.0):
        await bench.sweep(watch, after_s=after_s)

    assert verdicts == ["failed"] * 5
    assert [sent.room for sent in bench.dispatcher.sent] == ["call-RM_1"]


async def test_what_the_watch_does_is_a_span_of_its_own_around_the_answer(bench: Bench) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    watch = bench.watch()
    watch.tracer, watch.inbound = tracer, replace(watch.inbound, tracer=tracer)
    await ring(bench, watch)
    await bench.sweep(watch, after_s=3.0)
    provider.shutdown()

    spans = exporter.get_finished_spans()
    mends = [span for span in spans if span.name == "watch.mend"]
    assert [dict(span.attributes or {})["watch.action"] for span in mends] == [
        "adopted",
        "dispatched_again",
    ]
    again = next(span for span in spans if span.name == "call.answer_again")
    assert again.parent is not None
    assert again.parent.span_id == mends[1].context.span_id
    assert dict(again.attributes or {})["call.attempt"] == 2
    assert DID[1:] not in str([span.attributes for span in spans])


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


async def test_a_room_is_looked_at_again_when_an_agent_that_has_gone_will_be_missed(
    bench: Bench,
) -> None:
    watch = bench.watch()
    await ring(bench, watch)
    bench.rooms.people["RM_1"].append(agent())
    await bench.sweep(watch)
    bench.rooms.people["RM_1"].pop()
    await bench.sweep(watch, after_s=WELL_EVERY_S)

    assert watch._due_at == bench.now + Limits().gone_s


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


async def test_callers_without_an_agent_are_counted_with_the_longest_wait(bench: Bench) -> None:
    watch = bench.watch()

    def shown() -> list[float | None]:
        names = ("calls_ringing", "ringing_longest_seconds")
        value = bench.metrics.registry.get_sample_value
        return [value(f"persona_router_{name}") for name in names]

    await ring(bench, watch)
    await watch.turn()
    alone = shown()
    bench.rooms.people["RM_1"].append(agent())
    bench.now += 1.0
    await watch.turn()

    assert alone == [1, 1.0]
    assert shown() == [0, 0.0]
    swept_at = bench.metrics.registry.get_sample_value("persona_router_swept_timestamp_seconds")
    assert swept_at == bench.now


async def test_a_replica_that_does_not_sweep_counts_nobody_as_ringing(bench: Bench) -> None:
    watch, other = bench.watch("router-1"), bench.watch("router-2")
    await ring(bench, watch)
    await watch.turn()

    bench.now += 10.0
    await other.turn()
    await watch.turn()

    assert bench.metrics.registry.get_sample_value("persona_router_calls_ringing") == 0
