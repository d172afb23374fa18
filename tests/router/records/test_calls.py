"""One suite for both databases."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from personas.reports import (
    AnyCallEvent,
    CallReport,
    Closed,
    ClosedEvent,
    Event,
    Fact,
    Opened,
    PersonaApplied,
    Problem,
    ToolCall,
    Turn,
    numbered,
)
from router.db import Store
from router.errors import BadCursor, StoreUnavailable
from router.records.archive import CallFilter, FactFilter
from router.records.calls import SILENT_S, VANISHED_S, Calls, Dispatched
from router.records.summary import summary
from tests.router.locks import writing_elsewhere

NOW = 1_800_000_000.0
CALLER = "+4930901820"


@dataclass
class FakeClock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    store: Store
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.calls = Calls(self.store, clock=self.clock)

    async def dispatch(self, call_id: str = "c1", attempt: int = 1, **other: Any) -> None:
        call = dispatched(call_id, attempt, **other)
        self.calls.dispatched(call)
        await self.store.flush()

    async def tell(self, *events: AnyCallEvent, call_id: str = "c1") -> int:
        return await self.calls.take(CallReport(call_id=call_id, events=events))


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    yield Bench(store)
    await store.aclose()


def dispatched(call_id: str = "c1", attempt: int = 1, **other: Any) -> Dispatched:
    values: dict[str, Any] = {
        "room": f"room-{call_id}",
        "room_sid": f"RM_{call_id}",
        "sip_call_id": f"SCL_{call_id}",
        "caller": CALLER,
        "dialed_number": "+13125550100",
        "trunk": "ST_1",
        "persona_name": "Sarah",
        "persona_version": "sha256:one",
        "persona_origin": "api",
        "persona_because": "the API answered",
        "language": "de",
        "started_at": NOW - 1.0,
    }
    return Dispatched(call_id=call_id, attempt=attempt, **(values | other))


def event(seq: int, what: Event, attempt: int = 1, at: float | None = None) -> AnyCallEvent:
    return numbered(what, seq=seq, attempt=attempt, at=NOW + seq if at is None else at)


OPENED = Opened(room="room-c1", room_sid="RM_c1", caller=CALLER, answered_at=NOW + 0.5)
CLOSED = Closed(reason="the caller hung up", disposition="answered", duration_s=42.0, facts=1)


async def test_a_record_is_there_from_the_dispatch_on(bench: Bench) -> None:
    await bench.dispatch()

    record = await bench.calls.get("c1", "default")

    assert record is not None
    assert (record.caller, record.dialed_number, record.trunk) == (CALLER, "+13125550100", "ST_1")
    assert (record.persona_name, record.persona_origin) == ("Sarah", "api")
    assert (record.attempts, record.ended_at, record.tenant) == (1, None, "default")
    assert await bench.calls.get("c2", "default") is None


async def test_a_report_fills_the_record(bench: Bench) -> None:
    await bench.dispatch()

    reached = await bench.tell(
        event(1, OPENED),
        event(2, PersonaApplied(version="sha256:two", origin="house", because="!", name="Tom")),
        event(3, Turn(by="agent", text="Hello.")),
        event(4, Turn(by="caller", text="Hi.")),
        event(5, Fact(id="f1", category="qualification", information="interested")),
        event(6, ToolCall(name="share_information", ok=True)),
        event(7, Problem(what="a voice was missing")),
        event(8, CLOSED),
    )

    record = await bench.calls.get("c1", "default")
    assert reached == 8
    assert record is not None
    assert (record.turns, record.facts, record.tool_calls, record.problems) == (2, 1, 1, 1)
    assert (record.persona_name, record.persona_version) == ("Tom", "sha256:two")
    assert (record.ended_at, record.closed_by) == (NOW + 8, "agent")
    assert (record.reason, record.disposition, record.duration_s) == (
        "the caller hung up",
        "answered",
        42.0,
    )
    assert record.ring_ms == 1500.0
    assert record.qualification == "interested"
    said = await bench.calls.transcript("c1")
    assert [(turn.by, turn.text) for turn in said] == [("agent", "Hello."), ("caller", "Hi.")]
    assert [one.information for one in await bench.calls.facts_so_far("c1")] == ["interested"]
    assert len(await bench.calls.timeline("c1")) == 8


async def test_a_report_that_comes_twice_changes_nothing(bench: Bench) -> None:
    told = (event(1, OPENED), event(2, Fact(id="f", category="x", information="y")))
    await bench.dispatch()
    await bench.tell(*told)
    once = await bench.calls.get("c1", "default")

    assert await bench.tell(*told) == 2
    assert await bench.tell(told[1], told[1]) == 2

    assert await bench.calls.get("c1", "default") == once
    assert len((await bench.calls.facts(FactFilter(tenant="default"))).rows) == 1


async def test_it_is_acknowledged_up_to_the_first_gap(bench: Bench) -> None:
    assert await bench.tell(event(3, OPENED)) == 0
    assert await bench.tell(event(1, OPENED)) == 1
    assert await bench.tell(event(5, OPENED)) == 1
    assert await bench.tell(event(2, OPENED)) == 3
    assert await bench.tell(event(1, OPENED, attempt=2)) == 1


async def test_a_call_that_another_backend_dispatched_gets_its_record_from_the_agent(
    bench: Bench,
) -> None:
    await bench.tell(event(2, Turn(by="agent", text="Hello.")))
    await bench.tell(event(1, OPENED))

    record = await bench.calls.get("c1", "default")

    assert record is not None
    assert (record.room, record.caller, record.opened_by) == ("room-c1", CALLER, "agent")
    assert record.started_at == NOW + 1


async def test_a_dispatch_that_is_written_late_overrides_nothing_newer(bench: Bench) -> None:
    await bench.tell(
        event(1, OPENED, attempt=2),
        event(2, PersonaApplied(version="sha256:new", origin="api"), attempt=2),
    )

    await bench.dispatch(attempt=2)

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert (record.persona_version, record.attempts) == ("sha256:new", 2)
    assert (record.trunk, record.started_at, record.opened_by) == ("ST_1", NOW - 1, "router")


async def test_facts_that_came_before_the_caller_was_known_are_the_callers(bench: Bench) -> None:
    await bench.tell(event(2, Fact(id="f", category="x", information="y")))
    await bench.tell(event(1, OPENED))

    assert [
        one.information for one in await bench.calls.facts_of_caller(CALLER, tenant="default")
    ] == ["y"]
    assert await bench.calls.facts_of_caller(CALLER, tenant="default", besides="c1") == ()
    assert await bench.calls.facts_of_caller(CALLER, tenant="default", category="z") == ()


# ---- the end ----


async def test_the_router_closes_what_an_agent_that_died_left_open(bench: Bench) -> None:
    await bench.dispatch()
    await bench.tell(event(1, OPENED))
    bench.clock.now = NOW + 61

    await bench.calls.ended(["c1", "never-heard-of"], "the room is gone")

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert (record.closed_by, record.reason) == ("router", "the room is gone")
    assert (record.disposition, record.duration_s, record.ended_at) == ("answered", 60.5, NOW + 61)


async def test_a_call_that_was_taken_over_was_answered_once(bench: Bench) -> None:
    await bench.dispatch()
    await bench.tell(event(1, OPENED))

    await bench.tell(
        event(1, OPENED.model_copy(update={"answered_at": NOW + 30}), attempt=2),
        event(2, CLOSED.model_copy(update={"duration_s": 5.0}), attempt=2, at=NOW + 35),
    )

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert (record.answered_at, record.ring_ms, record.duration_s) == (NOW + 0.5, 1500.0, 34.5)


async def test_a_call_that_no_agent_came_to_was_not_answered(bench: Bench) -> None:
    await bench.dispatch()

    await bench.calls.ended(["c1"], "no agent came")

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert (record.disposition, record.duration_s) == ("no_answer", 0.0)


async def test_what_the_agent_says_of_the_end_wins_even_late(bench: Bench) -> None:
    await bench.dispatch()
    await bench.tell(event(1, OPENED))
    await bench.calls.ended(["c1"], "the room is gone")

    await bench.tell(event(2, CLOSED))

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert (record.closed_by, record.reason) == ("agent", "the caller hung up")


async def test_the_router_does_not_close_what_is_closed(bench: Bench) -> None:
    await bench.dispatch()
    await bench.tell(event(1, OPENED), event(2, CLOSED))

    await bench.calls.ended(["c1"], "the room is gone")

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert record.closed_by == "agent"


async def test_an_attempt_that_lost_does_not_close_the_call(bench: Bench) -> None:
    await bench.dispatch()
    await bench.tell(event(1, OPENED))
    await bench.tell(event(1, OPENED, attempt=2))

    await bench.tell(event(2, CLOSED))

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert record.ended_at is None


async def test_a_call_goes_on_when_another_agent_takes_over(bench: Bench) -> None:
    await bench.dispatch()
    await bench.tell(event(1, OPENED), event(2, CLOSED))

    await bench.tell(event(1, OPENED, attempt=2))

    record = await bench.calls.get("c1", "default")
    assert record is not None
    assert (record.ended_at, record.reason, record.closed_by) == (None, None, None)


async def test_a_room_that_finished_closes_its_calls(bench: Bench) -> None:
    await bench.dispatch("c1")
    await bench.dispatch("c2")

    bench.calls.room_finished("RM_c1")
    await bench.calls.close_finished()

    open_calls = await bench.calls.page(CallFilter(tenant="default", is_open=True))
    assert [one.call_id for one in open_calls.rows] == ["c2"]


async def test_many_rooms_that_finished_are_closed_though_others_write(
    bench: Bench, store_url: str
) -> None:
    for number in range(70):
        await bench.dispatch(f"c{number}")
        bench.calls.room_finished(f"RM_c{number}")

    async with writing_elsewhere(store_url):
        closing = asyncio.create_task(bench.calls.close_finished())
        await asyncio.sleep(0.05)
    await closing
    bench.calls.room_finished("RM_c0")
    await bench.calls.close_finished()

    assert not (await bench.calls.page(CallFilter(tenant="default", is_open=True))).rows
    ends = await bench.calls.page(CallFilter(tenant="default"), limit=100)
    assert {one.reason for one in ends.rows} == {"the room was closed"}


CLOSINGS = [
    event(1, OPENED),
    event(2, PersonaApplied(version="sha256:two", origin="house", name="Tom")),
    event(3, CLOSED),
    event(1, Opened(room="room-c1", language="en"), attempt=2, at=NOW + 20),
    event(2, PersonaApplied(version="sha256:three", origin="api"), attempt=2, at=NOW + 20),
    event(3, Closed(reason="done", disposition="transferred"), attempt=2, at=NOW + 30),
]
OURS = ClosedEvent(seq=1, attempt=1, at=NOW + 9, reason="gone", disposition="")


@given(st.permutations(CLOSINGS), st.integers(0, 6), st.booleans())
def test_the_order_in_which_it_is_told_does_not_matter(
    told: list[AnyCallEvent], many: int, by_router: bool
) -> None:
    some = told[:many]
    ours = OURS if by_router else None

    assert summary(some, ours) == summary(sorted(some, key=lambda one: -one.at), ours)


async def test_in_whatever_order_reports_come_the_record_is_the_same(bench: Bench) -> None:
    chance = random.Random(7)  # noqa: S311  # nothing secret
    records = []
    for number in range(6):
        call_id = f"call-{number}"
        steps: list[AnyCallEvent | None] = [*CLOSINGS, *CLOSINGS, None]
        chance.shuffle(steps)
        await bench.dispatch(call_id)
        for step in steps:
            if step is None:
                await bench.calls.ended([call_id], "gone")
            else:
                await bench.tell(step, call_id=call_id)
        record = await bench.calls.get(call_id, "default")
        assert record is not None
        records.append((record.reason, record.disposition, record.persona_version, record.language))

    assert set(records) == {("done", "transferred", "sha256:three", "en")}


async def test_what_comes_to_two_routers_at_once_is_put_together(store_url: str) -> None:
    stores = [await Store(store_url).open() for _ in range(2)]
    routers = [Calls(store, clock=FakeClock()) for store in stores]
    chance = random.Random(3)  # noqa: S311  # nothing secret
    steps: list[AnyCallEvent] = [
        *CLOSINGS,
        *(event(seq, Fact(id=f"{seq}", category="x", information="y")) for seq in range(4, 9)),
        numbered(OPENED, seq=9, attempt=1, at=NOW),
    ]
    records = []
    for number in range(4):
        call_id = f"call-{number}"
        works: list[Awaitable[Any]] = [
            chance.choice(routers).take(CallReport(call_id=call_id, events=(step,)))
            for step in steps * 2
        ]
        works += [router.ended([call_id], "gone") for router in routers]
        chance.shuffle(works)

        await asyncio.gather(*works)

        record = await routers[0].get(call_id, "default")
        assert record is not None
        records.append((record.reason, record.persona_version, record.facts, record.caller))
        told = await routers[0].facts_so_far(call_id)
        assert [fact.caller for fact in told] == [CALLER] * 5
    for store in stores:
        await store.aclose()

    assert set(records) == {("done", "sha256:three", 5, CALLER)}


# ---- lists ----


async def fill(bench: Bench, count: int) -> None:
    for number in range(count):
        caller = CALLER if number % 2 else "+13125550199"
        at = NOW + number // 3  # some begin together
        await bench.dispatch(f"c{number:02}", caller=caller, started_at=at)
        category = "qualification" if number % 3 else "personal_info"
        fact = Fact(id=f"f{number}", category=category, information=f"i{number}")
        await bench.tell(event(1, fact, at=at), call_id=f"c{number:02}")


async def test_calls_are_listed_newest_first_by_pages(bench: Bench) -> None:
    await fill(bench, 10)

    seen: list[str] = []
    cursor = None
    while True:
        page = await bench.calls.page(CallFilter(tenant="default"), cursor, limit=3)
        seen += [one.call_id for one in page.rows]
        cursor = page.next
        if cursor is None:
            break

    assert seen == [f"c{number:02}" for number in reversed(range(10))]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        pytest.param(CallFilter(tenant="default", caller=CALLER), [9, 7, 5, 3, 1], id="caller"),
        pytest.param(CallFilter(tenant="default", dialed_number="+1"), [], id="dialed-number"),
        pytest.param(CallFilter(tenant="default", since=NOW + 2), [9, 8, 7, 6], id="since"),
        pytest.param(CallFilter(tenant="default", until=NOW + 1), [2, 1, 0], id="until"),
        pytest.param(CallFilter(tenant="default", qualification="i4"), [4], id="qualification"),
        pytest.param(CallFilter(tenant="default", is_open=False), [], id="over"),
        pytest.param(
            CallFilter(tenant="default", direction="inbound", caller=CALLER, since=NOW + 3),
            [9],
            id="all",
        ),
        pytest.param(CallFilter(tenant="another"), [], id="tenant"),
    ],
)
async def test_calls_are_filtered(bench: Bench, which: CallFilter, expected: list[int]) -> None:
    await fill(bench, 10)

    page = await bench.calls.page(which)

    assert [one.call_id for one in page.rows] == [f"c{number:02}" for number in expected]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        pytest.param(
            FactFilter(tenant="default", category="personal_info"), [9, 6, 3, 0], id="category"
        ),
        pytest.param(FactFilter(tenant="default", caller=CALLER), [9, 7, 5, 3, 1], id="caller"),
        pytest.param(FactFilter(tenant="default", call_id="c04"), [4], id="call"),
        pytest.param(
            FactFilter(tenant="default", since=NOW + 1, until=NOW + 2), [5, 4, 3], id="time"
        ),
        pytest.param(FactFilter(tenant="another"), [], id="tenant"),
    ],
)
async def test_facts_are_filtered(bench: Bench, which: FactFilter, expected: list[int]) -> None:
    await fill(bench, 10)

    assert [one.information for one in await all_facts(bench.calls, which)] == [
        f"i{number}" for number in expected
    ]


async def all_facts(calls: Calls, which: FactFilter) -> Sequence[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = await calls.facts(which, cursor, limit=2)
        found += page.rows
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize(
    "cursor", ["", "x", "bnVsbA", "WzFd", "WyJhIiwiYiJd", "ü", "W3RydWUsImEiXQ"]
)
async def test_a_cursor_that_is_none_is_an_error_of_its_own(bench: Bench, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await bench.calls.page(CallFilter(tenant="default"), cursor)


# ---- housekeeping ----


async def test_calls_of_which_nothing_was_heard_are_asked_for_and_given_up(bench: Bench) -> None:
    await bench.dispatch()
    assert await bench.calls.silent() == []

    bench.clock.now += VANISHED_S + 1
    assert [one.room_sid for one in await bench.calls.silent()] == ["RM_c1"]
    assert await bench.calls.give_up_silent() == 0

    bench.clock.now += SILENT_S
    assert await bench.calls.give_up_silent() == 1
    assert await bench.calls.silent() == []


async def test_a_database_that_refuses_is_unavailable(bench: Bench) -> None:
    await bench.store.write(lambda c: c.execute(sa.text("DROP TABLE call_events")))

    with pytest.raises(StoreUnavailable):
        await bench.tell(event(1, OPENED))
