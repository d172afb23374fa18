"""Appointments as a calendar file (RFC 5545). Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Protocol

from router.tools.slots import Span

_MAX_OCTETS: Final = 75  # of a line, its break not counted


class Event(Protocol):
    """What is read of an appointment."""

    @property
    def id(self) -> str:
        """Unique."""

    @property
    def span(self) -> Span:
        """When."""

    @property
    def name(self) -> str:
        """With whom."""

    @property
    def email(self) -> str | None:
        """Their address."""

    @property
    def phone(self) -> str | None:
        """Their number."""

    @property
    def notes(self) -> str:
        """What about."""

    @property
    def made_at(self) -> float:
        """When it was made, Unix seconds."""


def calendar_file(name: str, events: Iterable[Event]) -> str:
    """Write *events* as one calendar."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//persona-router//calendar//EN"]
    lines.append(f"X-WR-CALNAME:{_text(name)}")
    for event in events:
        about = "\n".join(filter(None, (event.notes, event.phone, event.email)))
        lines += [
            "BEGIN:VEVENT",
            f"UID:{event.id}@persona-router",
            f"DTSTAMP:{_moment(event.made_at)}",
            f"DTSTART:{_moment(event.span.starts)}",
            f"DTEND:{_moment(event.span.ends)}",
            f"SUMMARY:{_text(event.name)}",
            *([f"DESCRIPTION:{_text(about)}"] if about else []),
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    kept = "".join(letter for letter in value if letter >= " " or letter == "\n")
    escaped = kept.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\n", "\\n")


def _folded(line: str) -> str:
    """Break a line where it has to be broken, never inside a character."""
    parts, size = [""], 0
    for letter in line:
        octets = len(letter.encode())
        if size + octets > _MAX_OCTETS:
            parts.append("")
            size = 1  # the space that a continuation begins with
        parts[-1] += letter
        size += octets
    return "\r\n ".join(parts)
