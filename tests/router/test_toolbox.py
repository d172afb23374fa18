"""Tools of calls, with the real records behind them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from personas.model import Persona
from personas.options import Calendar
from personas.reports import CallReport, Closed, Event, Fact, Opened, numbered
from router.db import Store
from router.errors import CalendarAway, LiveKitUnavailable, ToolRefused
from router.recorder import Recorder
from router.records.appointments import BuiltInCalendar
from router.records.calls import Calls
from router.records.do_not_call import DoNotCall, campaign_scope
from router.records.recollection import Recollection
from router.records.recordings import RecordingRows
from router.toolbox import CallToolbox
from router.tools.calendars import Booking, CalendarTools
from router.tools.http_tools import Hosts, HttpTools
from router.tools.slots import Span
from tests.fakes_personas import FakeClock

CALLER = "+13125550123"
NORTH = "+13125550120"
NOW = datetime(2026, 11, 20, tzinfo=ZoneInfo("UTC")).timestamp()


class FakeAwayCalendar:
    """A calendar that nobody reaches."""

    async def free(
        self, calendar: Calendar, day: date, zone: ZoneInfo, tenant: str = "default"
    ) -> list[Span]:
        raise CalendarAway("it did not answer")

    async def book(
        self, calendar: Calendar, start: datetime, zone: ZoneInfo, booking: Booking
    ) -> Span:
        raise CalendarAway("it did not answer")


@dataclass
class Box:
    """A toolbox over real records; *personas* are what was sent to each call."""

    calls: Calls
    do_not_call: DoNotCall
    toolbox: CallToolbox
    personas: dict[str, Persona] = field(default_factory=dict)

    async def call(
        self,
        call_id: str,
        *,
        caller: str | None = CALLER,
        dialed: str | None = None,
        **document: Any,
    ) -> None:
        """Have a call go on that speaks as a persona."""
        self.personas[call_id] = Persona.from_document({"personality": "Kind.", **document})
        opened = Opened(room=f"room {call_id}", caller=caller, dialed_number=dialed)
        await self.report(call_id, opened)

    async def report(self, call_id: str, *events: Event) -> None:
        self._seq = getattr(self, "_seq", 0)
        numbers = range(self._seq + 1, self._seq + 1 + len(events))
        self._seq += len(events)
        told = [
            numbered(event, seq=seq, attempt=1, at=NOW + seq)
            for seq, event in zip(numbers, events, strict=True)
        ]
        await self.calls.take(CallReport(call_id=call_id, events=tuple(told)))

    async def use(self, tool: str, call_id: str = "c1", /, **arguments: Any) -> str:
        return await self.toolbox.run(call_id, tool, arguments)


class FakeEgress:
    """Records nothing."""

    async def record(self, room: str, path: str) -> str:
        raise LiveKitUnavailable("not_reached")

    async def stop_recording(self, egress_id: str) -> None:
        raise LiveKitUnavailable("not_reached")


@pytest.fixture
async def box(store_url: str) -> AsyncIterator[Box]:
    store = await Store(store_url).open()
    clock = FakeClock()
    clock.now = NOW
    personas: dict[str, Persona] = {}

    async def persona_of(call_id: str) -> Persona | None:
        return personas.get(call_id)

    async with httpx.AsyncClient(trust_env=False) as client:
        toolbox = CallToolbox(
            persona_of=persona_of,
            recollection=Recollection(store),
            do_not_call=DoNotCall(store, clock=clock),
            calendars=CalendarTools(
                ports={
                    "builtin": BuiltInCalendar(store, clock=clock),
                    "calcom": FakeAwayCalendar(),
                }
            ),
            http=HttpTools(client=client, hosts=Hosts.of("")),
            recorder=Recorder(
                livekit=FakeEgress(), rows=RecordingRows(store, clock=clock), path=""
            ),
        )
        calls = Calls(
            store, clock=clock, tenant_of=lambda *told: "north" if NORTH in told else "default"
        )
        yield Box(calls, DoNotCall(store, clock=clock), toolbox, personas)
    await store.aclose()


async def test_what_a_caller_told_before_is_remembered_where_the_persona_wants_it(box: Box) -> None:
    await box.call("c0")
    told = Fact(id="f1", category="personal_info", information="Has a cat.")
    await box.report("c0", told)
    await box.call("other", caller="+13125550199")
    await box.report("other", Fact(id="f2", category="personal_info", information="Is Max."))
    await box.call("c1", remember=True)
    await box.report("c1", Fact(id="f3", category="debt_info", information="Owes 40."))
    await box.call("c2")

    remembered = await box.use("get_shared_information")
    by_category = await box.use("get_shared_information", category="personal_info", limit=1)
    forgotten = await box.use("get_shared_information", "c2")

    assert remembered.splitlines() == [
        "- Owes 40. (debt_info)",
        "- Has a cat. (personal_info, told on 20 November 2026)",
    ]
    assert by_category == "- Has a cat. (personal_info, told on 20 November 2026)"
    assert forgotten == ""


async def test_a_caller_whose_number_is_hidden_has_no_past(box: Box) -> None:
    await box.call("c0", caller=None)
    await box.report("c0", Fact(id="f1", category="personal_info", information="Has a cat."))
    await box.call("c1", caller=None, remember=True)

    assert await box.use("get_shared_information") == ""


async def test_whoever_asks_for_it_is_not_called_again(box: Box) -> None:
    await box.call("c1", tools=["do_not_call"])

    words = await box.use("do_not_call", reason="leave me alone")
    await box.use("do_not_call")
    entry = await box.do_not_call.holds(CALLER)

    assert "will not be called again" in words
    assert entry is not None
    assert (entry.scope, entry.source, entry.since) == ("tenant", "call", NOW)
    assert await box.do_not_call.holds("+13125550199") is None


async def test_a_wish_spoken_in_a_call_is_kept_for_the_tenant_of_the_call_alone(box: Box) -> None:
    await box.call("c1", dialed=NORTH, tools=["do_not_call"])

    await box.use("do_not_call")

    assert await box.do_not_call.holds(CALLER, tenant="north") is not None
    assert await box.do_not_call.holds(CALLER, tenant="default") is None


async def test_a_campaign_can_be_left_alone(box: Box) -> None:
    await box.do_not_call.add(CALLER, source="api", scope=campaign_scope("spring"))

    assert await box.do_not_call.holds(CALLER) is None
    assert await box.do_not_call.holds(CALLER, campaign_id="autumn") is None
    assert await box.do_not_call.holds(CALLER, campaign_id="spring") is not None


async def test_a_hidden_number_cannot_be_listed(box: Box) -> None:
    await box.call("c1", caller=None, tools=["do_not_call"])

    with pytest.raises(ToolRefused, match="hidden"):
        await box.use("do_not_call")


async def test_an_appointment_is_found_and_made(box: Box) -> None:
    await box.call("c1", calendar={"slot_minutes": 60}, timezone="Europe/Berlin")

    free = await box.use("check_calendar", day="2026-11-23", part_of_day="morning")
    booked = await box.use("book_appointment", start="2026-11-23T09:00+01:00", name="Ruth")
    left = await box.use("check_calendar", day="2026-11-23", part_of_day="morning")

    assert "09:00 (start 2026-11-23T09:00+01:00), 10:00" in free
    assert booked == "Booked: Monday, 23 November 2026, 09:00 (Europe/Berlin time)."
    assert "09:00" not in left


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("check_calendar", {"day": "tomorrow"}, "YYYY-MM-DD"),
        ("check_calendar", {}, "YYYY-MM-DD"),
        ("check_calendar", {"day": "2026-11-22"}, "Nothing is free"),
        ("check_calendar", {"day": "2026-11-23", "part_of_day": "evening"}, "Not at that time"),
        ("book_appointment", {"start": "nine", "name": "Ruth"}, "exactly as"),
        ("book_appointment", {"start": "2026-11-23T09:00"}, "name first"),
        ("book_appointment", {"start": "2026-11-23T03:00", "name": "Ruth"}, "no time at which"),
    ],
)
async def test_what_cannot_be_had_is_an_answer(
    box: Box, name: str, arguments: dict[str, Any], words: str
) -> None:
    await box.call("c1", calendar={})

    assert words in await box.use(name, **arguments)


async def test_a_calendar_that_is_away_is_refused(box: Box) -> None:
    await box.call("c1", calendar={"provider": "calcom", "name": "1"})

    with pytest.raises(ToolRefused, match="cannot be reached"):
        await box.use("check_calendar", day="2026-11-23")
    with pytest.raises(ToolRefused, match="cannot be reached"):
        await box.use("book_appointment", start="2026-11-23T09:00", name="Ruth")


@pytest.mark.parametrize("name", ["do_not_call", "check_calendar", "order_status", "end_call", "x"])
async def test_a_call_may_use_what_its_persona_allows_and_nothing_else(box: Box, name: str) -> None:
    await box.call("c1", tools=["end_call"], calendar={}, http_tools=[])

    with pytest.raises(ToolRefused, match="no such tool") as refused:
        await box.use(name)

    assert refused.value.status == 404


async def test_without_a_snapshot_of_the_persona_nothing_is_run(box: Box) -> None:
    await box.call("c1", tools=["do_not_call"])
    del box.personas["c1"]

    with pytest.raises(ToolRefused, match="on this call"):
        await box.use("do_not_call")


async def test_a_call_that_is_over_uses_nothing(box: Box) -> None:
    await box.call("c1", tools=["do_not_call"])
    await box.report("c1", Closed(reason="over", disposition="answered"))

    with pytest.raises(ToolRefused, match="on this call"):
        await box.use("do_not_call")
