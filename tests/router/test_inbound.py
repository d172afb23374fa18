"""One ringing call: the lookup, the claims and the database are real, LiveKit's API is not."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span

from personas.contract import MAX_METADATA_BYTES
from personas.errors import PersonaNotFound, PersonaUnavailable
from personas.lookup import PersonaLookup
from personas.model import Persona
from personas.sources.http import Fetched
from personas.traces import context_of
from router.db import Store
from router.demo.deliveries import joined
from router.errors import DispatchRefused, DispatchUnknown, StoreUnavailable
from router.inbound import AGAIN, InboundCalls
from router.metrics import Metrics
from router.records.claims import Claims, SpareClaims
from router.records.owed import Owed
from router.routing import Event, NumberingPlan
from router.trunks import Trunks
from tests.fakes import FakeDispatcher, FakeTrunk, FakeTrunkDirectory
from tests.fakes_personas import HOUSE, FakePersonaApi, until

DID = "+13125550100"
CALLER = "+4930901820"


class Bench:
    """A router's inner part, and the edges that a test turns."""

    def __init__(self, store: Store) -> None:
        self.api = FakePersonaApi()
        self.dispatcher = FakeDispatcher()
        self.directory = FakeTrunkDirectory()
        self.metrics = Metrics()
        self.store = store
        self.now = 1_800_000_000.0
        self.lookup = PersonaLookup(house=HOUSE, source=self.api, budget_s=0.2)
        self.ids = itertools.count(1)

    def router(self, owner: str = "router-1", **plan: Any) -> InboundCalls:
        return InboundCalls(
            trunks=Trunks(NumberingPlan(**plan), self.directory, clock=lambda: self.now),
            claims=Claims(
                self.store,
                owner=owner,
                lease_s=6.0,
                clock=lambda: self.now,
                new_id=lambda: f"call-{next(self.ids)}",
            ),
            spare=SpareClaims(lambda: f"spare-{next(self.ids)}"),
            owed=Owed(self.store, owner=owner, clock=lambda: self.now),
            personas=self.lookup,
            dispatcher=self.dispatcher,
            metrics=self.metrics,
            clock=lambda: self.now,
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = await Store(f"sqlite:///{tmp_path / 'calls.db'}").open()
    bench = Bench(store)
    yield bench
    await bench.lookup.aclose()
    await store.aclose()


def ringing(number: str = DID, room: str = "call-1", **options: Any) -> Event:
    return joined(number=number, caller=CALLER, room=room, **options)


async def test_a_caller_gets_the_persona_of_the_dialed_number(bench: Bench) -> None:
    outcome = await bench.router().take(ringing())

    assert outcome.verdict == "dispatched"
    [sent] = bench.dispatcher.sent
    assert sent.room == "call-1"
    assert sent.metadata["personality"] == f"You answer for {DID}."
    assert sent.attributes == {"persona.attempt": "1", "persona.call": "call-1"}


async def test_the_agent_is_told_all_about_the_call(bench: Bench) -> None:
    await bench.router().take(ringing())

    call = bench.dispatcher.sent[0].metadata["_call"]
    assert call["schema"] == 1
    assert call["call_id"] == "call-1"
    assert (call["dialed_number"], call["dialed_as"], call["caller"]) == (DID, DID, CALLER)
    assert call["origin"]["source"] == "api"
    assert call["origin"]["version"].startswith("sha256:")
    assert call["origin"]["because"].startswith("the dialed number; ")
    assert call["ring"]["webhook_at"] == bench.now


async def test_the_persona_is_the_dialed_numbers_and_not_the_callers(bench: Bench) -> None:
    await bench.router().take(ringing())

    assert [number for number, _ in bench.api.asked] == [DID]


async def test_what_happened_to_a_call_is_told_stage_by_stage(bench: Bench) -> None:
    outcome = await bench.router().take(ringing())
    again = await bench.router().take(ringing())

    assert outcome.trail is not None
    assert (outcome.trail.call_id, outcome.trail.attempt) == ("call-1", 1)
    assert outcome.trail.origin is not None
    assert outcome.trail.origin.source == "api"
    assert list(outcome.trail.stages) == ["claim", "persona", "dispatch"]
    assert again.trail is not None
    assert (again.trail.call_id, list(again.trail.stages)) == ("call-1", ["claim"])


async def test_a_call_that_nobody_traces_carries_no_trace(bench: Bench) -> None:
    await bench.router().take(ringing())

    assert bench.dispatcher.sent[0].metadata["_call"]["traceparent"] is None


async def test_a_traced_call_hands_its_trace_on_and_puts_nothing_personal_on_it(
    bench: Bench,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    router = replace(bench.router(), tracer=provider.get_tracer("test"))

    await router.take(ringing())

    spans = {span.name: span for span in exporter.get_finished_spans()}
    answer = spans["call.answer"]
    handed_on = bench.dispatcher.sent[0].metadata["_call"]["traceparent"]
    followed = get_current_span(context_of(handed_on)).get_span_context()
    assert (followed.trace_id, followed.span_id) == (
        answer.context.trace_id,
        answer.context.span_id,
    )
    assert set(spans) == {"call.answer", "call.claim", "call.persona", "call.dispatch"}
    parents = {span.parent.span_id for span in spans.values() if span.parent is not None}
    assert parents == {answer.context.span_id}
    shown = "".join(span.to_json() for span in spans.values())
    for canary in (DID[1:], CALLER[1:], "You answer for", "call-explained"):
        assert canary not in shown


async def test_a_second_delivery_of_the_same_call_sends_no_second_agent(bench: Bench) -> None:
    event = ringing()
    await bench.router().take(event)

    outcome = await bench.router("router-2").take(event)

    assert outcome.verdict == "duplicate"
    assert len(bench.dispatcher.sent) == 1


async def test_a_delivery_while_the_call_is_being_dispatched_is_to_come_again(
    bench: Bench,
) -> None:
    bench.dispatcher.held = asyncio.Event()
    event = ringing()
    first = asyncio.create_task(bench.router().take(event))
    await until(lambda: bool(bench.api.asked))

    second = await bench.router("router-2").take(event)
    bench.dispatcher.held.set()

    assert second.verdict == "held"
    assert second.verdict in AGAIN
    assert (await first).verdict == "dispatched"


async def test_deliveries_to_three_routers_at_once_send_one_agent(bench: Bench) -> None:
    routers = [bench.router(f"router-{number}") for number in range(3)]

    for call in range(20):
        event = ringing(room=f"call-{call}")
        await asyncio.gather(*(router.take(event) for router in routers * 3))

    assert sorted(sent.room for sent in bench.dispatcher.sent) == sorted(
        f"call-{call}" for call in range(20)
    )


@pytest.mark.parametrize("failure", [PersonaNotFound("no"), PersonaUnavailable("no")])
async def test_the_house_persona_answers_when_the_lookup_fails(
    bench: Bench, failure: Exception
) -> None:
    bench.api.failing = failure

    assert (await bench.router().take(ringing())).verdict == "dispatched"

    [sent] = bench.dispatcher.sent
    assert sent.metadata["persona_name"] == "House"
    assert sent.metadata["_call"]["origin"]["source"] == "house"


async def test_a_persona_api_that_hangs_keeps_nobody_ringing(bench: Bench) -> None:
    bench.api.held = asyncio.Event()

    outcome = await bench.router().take(ringing())
    bench.api.held.set()

    assert outcome.verdict == "dispatched"
    assert bench.dispatcher.sent[0].metadata["persona_name"] == "House"


async def test_a_hidden_number_is_answered_by_the_house_with_that_reason(bench: Bench) -> None:
    outcome = await bench.router().take(ringing(""))

    assert "hidden" in outcome.because
    [sent] = bench.dispatcher.sent
    assert sent.metadata["persona_name"] == "House"
    assert sent.metadata["_call"]["dialed_number"] is None


async def test_a_hidden_number_is_settled_by_the_single_number_of_its_trunk(bench: Bench) -> None:
    bench.directory.trunks = [
        FakeTrunk("ST_one", [DID]),
        FakeTrunk("ST_many", [DID, CALLER]),
        FakeTrunk("ST_any"),
    ]
    router = bench.router()

    for room, trunk in enumerate(["ST_one", "ST_many", "ST_any", "ST_unheard"]):
        await router.take(ringing("", room=f"call-{room}", trunk_id=trunk))

    dialed = [sent.metadata["_call"]["dialed_number"] for sent in bench.dispatcher.sent]
    assert dialed == [DID, None, None, None]
    assert bench.directory.asked == 1


async def test_an_unknown_number_is_never_looked_up(bench: Bench) -> None:
    outcome = await bench.router().take(ringing("101"))

    assert outcome.verdict == "dispatched"
    assert bench.api.asked == []
    assert bench.dispatcher.sent[0].metadata["_call"]["dialed_as"] == "101"


async def test_a_refused_dispatch_is_released_and_to_come_again(bench: Bench) -> None:
    router, event = bench.router(), ringing()
    bench.dispatcher.failing = DispatchRefused("not_reached")
    first = await router.take(event)
    bench.dispatcher.failing = None

    second = await router.take(event)

    assert (first.verdict, second.verdict) == ("failed", "dispatched")
    assert first.verdict in AGAIN
    assert bench.dispatcher.sent[0].attributes["persona.attempt"] == "2"


async def test_a_dispatch_of_unknown_outcome_is_not_repeated_by_a_delivery(bench: Bench) -> None:
    router, event = bench.router(), ringing()
    bench.dispatcher.failing = DispatchUnknown("timeout")
    first = await router.take(event)
    bench.dispatcher.failing = None

    second = await router.take(event)

    assert (first.verdict, second.verdict) == ("unknown", "duplicate")
    assert AGAIN.isdisjoint({first.verdict, second.verdict})
    assert bench.dispatcher.sent == []


async def test_a_router_that_died_before_the_dispatch_is_followed_by_another(bench: Bench) -> None:
    bench.dispatcher.held = asyncio.Event()
    event = ringing()
    dying = asyncio.create_task(bench.router("router-1").take(event))
    await until(lambda: bool(bench.api.asked))
    dying.cancel()
    bench.dispatcher.held = None
    early = await bench.router("router-2").take(event)
    bench.now += 6.0

    late = await bench.router("router-2").take(event)

    assert (early.verdict, late.verdict) == ("held", "dispatched")
    assert early.again_in_s == 6.0
    assert bench.dispatcher.sent[0].attributes["persona.attempt"] == "2"


async def test_while_the_database_is_away_calls_are_answered_all_the_same(tmp_path: Path) -> None:
    broken = Bench(Store(f"sqlite:///{tmp_path}"))  # a folder
    router, event = broken.router(), ringing()

    outcomes = [await router.take(event) for _ in range(3)]

    assert [outcome.verdict for outcome in outcomes] == ["dispatched", "duplicate", "duplicate"]
    assert len(broken.dispatcher.sent) == 1
    await broken.store.aclose()


async def test_a_call_of_the_time_without_database_is_not_dispatched_again_when_it_is_back(
    bench: Bench, tmp_path: Path
) -> None:
    broken = Bench(Store(f"sqlite:///{tmp_path}"))
    router, event = broken.router(), ringing()
    await router.take(event)
    back = replace(router, claims=bench.router().claims)

    outcome = await back.take(event)

    assert outcome.verdict == "duplicate"
    assert len(broken.dispatcher.sent) == 1
    assert len(router.owed) == 1
    await broken.store.aclose()


async def test_while_the_database_is_away_a_refused_dispatch_can_be_repeated(
    tmp_path: Path,
) -> None:
    broken = Bench(Store(f"sqlite:///{tmp_path}"))
    router, event = broken.router(), ringing()
    broken.dispatcher.failing = DispatchRefused("not_reached")
    first = await router.take(event)
    broken.dispatcher.failing = None

    second = await router.take(event)

    assert (first.verdict, second.verdict) == ("failed", "dispatched")
    await broken.store.aclose()


class ForgetfulClaims(Claims):
    """A claim table whose database goes away between the claim and the record of the dispatch."""

    def dispatched(self, *_: Any, failed: Callable[[StoreUnavailable], None], **__: Any) -> None:
        failed(StoreUnavailable("timeout"))


async def test_a_dispatch_that_cannot_be_recorded_has_been_done_all_the_same(bench: Bench) -> None:
    whole = bench.router()
    claims = ForgetfulClaims(
        bench.store, owner="r", lease_s=6.0, clock=lambda: bench.now, new_id=lambda: "call-1"
    )
    router = InboundCalls(
        trunks=whole.trunks,
        claims=claims,
        spare=whole.spare,
        owed=whole.owed,
        personas=bench.lookup,
        dispatcher=bench.dispatcher,
        metrics=bench.metrics,
    )

    assert (await router.take(ringing())).verdict == "dispatched"
    assert len(bench.dispatcher.sent) == 1
    assert len(router.owed) == 1


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(joined(number=DID)._replace(room=""), id="no-room"),
        pytest.param(Event("EV_1", "participant_joined", 0.0, "call-1", "RM_1", None), id="nobody"),
    ],
)
async def test_what_needs_no_agent_gets_none(bench: Bench, event: Event) -> None:
    outcome = await bench.router().take(event)

    assert outcome.verdict in {"ignored", "refused"}
    assert bench.dispatcher.sent == []


async def test_a_persona_that_is_too_large_is_cut_and_the_call_is_answered(bench: Bench) -> None:
    class LargePersonaApi(FakePersonaApi):
        async def fetch(self, dialed: Any, known: Fetched | None = None) -> Fetched:
            large = {"personality": "Large.", "attachment": "x" * MAX_METADATA_BYTES}
            return Fetched(Persona.from_json(json.dumps(large)))

    bench.lookup = PersonaLookup(house=HOUSE, source=LargePersonaApi())

    outcome = await bench.router().take(ringing())

    assert outcome.verdict == "dispatched"
    assert bench.dispatcher.sent[0].metadata["personality"] == "Large."
    assert "attachment" not in bench.dispatcher.sent[0].metadata
    await bench.lookup.aclose()
