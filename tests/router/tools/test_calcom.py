"""Cal.com's API, in the shapes of its version 2."""

import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
import respx

from personas.options import Calendar
from router.errors import BookingRefused, CalendarAway
from router.tools.calcom import CalCom
from router.tools.calendars import Booking
from router.tools.slots import local

BASE = "https://api.cal.test/v2"
BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 11, 23)
NINE = datetime(2026, 11, 23, 9, 0, tzinfo=BERLIN)
CALENDAR = Calendar(provider="calcom", name="1234")
BOOKING = Booking(call_id="c1", name="Ruth", email="ruth@example.org", phone="+13125550123")
SLOTS = {
    "status": "success",
    "data": {
        "2026-11-23": [
            {"start": "2026-11-23T10:00:00.000+01:00"},
            {"start": "2026-11-23T09:00:00.000+01:00"},
        ]
    },
}
BOOKED = {
    "status": "success",
    "data": {
        "id": 1,
        "uid": "booking_uid_123",
        "status": "accepted",
        "start": "2026-11-23T08:00:00.000Z",
        "end": "2026-11-23T08:30:00.000Z",
    },
}
TAKEN = {
    "status": "error",
    "error": {"code": "BadRequestException", "message": "User already has booking at this time"},
}


@pytest.fixture
async def calcom() -> AsyncIterator[CalCom]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield CalCom(client, base=BASE, api_key="cal_test")


async def test_slots_are_asked_for_and_read(calcom: CalCom, respx_mock: respx.MockRouter) -> None:
    asked = respx_mock.get(f"{BASE}/slots").respond(json=SLOTS)

    spans = await calcom.free(CALENDAR, DAY, BERLIN)

    request = asked.calls.last.request
    assert [f"{local(span.starts, BERLIN):%H:%M}" for span in spans] == ["09:00", "10:00"]
    assert request.headers["authorization"] == "Bearer cal_test"
    assert request.headers["cal-api-version"] == "2024-09-04"
    assert dict(request.url.params) == {
        "eventTypeId": "1234",
        "start": "2026-11-23",
        "end": "2026-11-24",
        "timeZone": "Europe/Berlin",
    }


async def test_a_day_without_slots_is_empty(calcom: CalCom, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{BASE}/slots").respond(json={"status": "success", "data": {}})

    assert await calcom.free(CALENDAR, DAY, BERLIN) == []


async def test_an_appointment_is_booked(calcom: CalCom, respx_mock: respx.MockRouter) -> None:
    asked = respx_mock.post(f"{BASE}/bookings").respond(201, json=BOOKED)

    span = await calcom.book(CALENDAR, NINE, BERLIN, BOOKING)

    sent = json.loads(asked.calls.last.request.content)
    assert span.starts == int(NINE.timestamp())
    assert asked.calls.last.request.headers["cal-api-version"] == "2024-08-13"
    assert sent == {
        "start": "2026-11-23T08:00:00Z",
        "eventTypeId": 1234,
        "attendee": {
            "name": "Ruth",
            "email": "ruth@example.org",
            "timeZone": "Europe/Berlin",
            "phoneNumber": "+13125550123",
        },
        "metadata": {"call_id": "c1"},
    }


async def test_a_time_that_is_taken_is_words(calcom: CalCom, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(f"{BASE}/bookings").respond(400, json=TAKEN)

    with pytest.raises(BookingRefused, match="check_calendar"):
        await calcom.book(CALENDAR, NINE, BERLIN, BOOKING)


async def test_without_an_address_the_caller_is_asked_for_it(calcom: CalCom) -> None:
    nameless = Booking(call_id="c1", name="Ruth")

    with pytest.raises(BookingRefused, match="e-mail"):
        await calcom.book(CALENDAR, NINE, BERLIN, nameless)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"status": "error"}),
        httpx.Response(500),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, json={"data": {"2026-11-23": [{"begin": 1}]}}),
    ],
)
async def test_any_other_answer_is_a_calendar_that_is_away(
    calcom: CalCom, respx_mock: respx.MockRouter, answer: httpx.Response
) -> None:
    respx_mock.get(f"{BASE}/slots").mock(return_value=answer)
    respx_mock.post(f"{BASE}/bookings").mock(return_value=answer)

    with pytest.raises(CalendarAway):
        await calcom.free(CALENDAR, DAY, BERLIN)
    with pytest.raises(CalendarAway):
        await calcom.book(CALENDAR, NINE, BERLIN, BOOKING)


async def test_no_answer_is_a_calendar_that_is_away(
    calcom: CalCom, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(f"{BASE}/slots").mock(side_effect=httpx.ReadTimeout("slow"))

    with pytest.raises(CalendarAway):
        await calcom.free(CALENDAR, DAY, BERLIN)
