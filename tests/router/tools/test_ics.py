from dataclasses import dataclass

from router.tools.ics import calendar_file
from router.tools.slots import Span


@dataclass
class FakeAppointment:
    id: str = "a1"
    span: Span = Span(1_795_420_800, 1_795_424_400)  # noqa: RUF009 - frozen
    name: str = "Ruth"
    email: str | None = None
    phone: str | None = "+13125550123"
    notes: str = ""
    made_at: float = 1_795_000_000.0


def test_appointments_are_events_of_one_calendar() -> None:
    lines = calendar_file("desk", [FakeAppointment()]).split("\r\n")

    assert lines[0] == "BEGIN:VCALENDAR"
    assert "DTSTART:20261123T080000Z" in lines
    assert "DTEND:20261123T090000Z" in lines
    assert "SUMMARY:Ruth" in lines
    assert "DESCRIPTION:+13125550123" in lines
    assert lines[-2:] == ["END:VCALENDAR", ""]


def test_no_text_breaks_out_of_its_line() -> None:
    evil = FakeAppointment(name="R;u,t\\h\r\nBEGIN:VEVENT", notes="zwölf Boxkämpfer " * 30)

    written = calendar_file("desk", [evil])

    assert written.split("\r\n").count("BEGIN:VEVENT") == 1
    assert "SUMMARY:R\\;u\\,t\\\\h\\nBEGIN:VEVENT" in written
    assert max(len(line.encode()) for line in written.split("\r\n")) <= 75
    assert ("zwölf Boxkämpfer " * 30).strip() in written.replace("\r\n ", "")
