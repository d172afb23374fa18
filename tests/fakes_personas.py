"""What stands at the edge of the personas package in tests: clocks, and a persona API."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from personas.errors import PersonaError
from personas.model import Persona
from personas.phone import DialedNumber
from personas.sources.http import Fetched

HOUSE = Persona.from_document({"persona_name": "House", "personality": "You take messages."})


@dataclass
class FakeClock:
    """Seconds that pass when a test says so."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def document(number: str, **fields: Any) -> dict[str, Any]:
    """Give a persona document that names *number* as its own."""
    return {"mobile": number, "personality": f"You answer for {number}.", **fields}


def persona(number: str, **fields: Any) -> Persona:
    return Persona.from_json(json.dumps(document(number, **fields)))


@dataclass
class FakePersonaApi:
    """A persona source: answers every number with its own persona, until told otherwise.

    ``held`` keeps answers back until it is set; ``failing`` is raised instead of an answer;
    ``fields`` are in every answer.
    """

    failing: PersonaError | Exception | None = None
    held: asyncio.Event | None = None
    revision: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Fetched | None]] = field(default_factory=list)
    closed: bool = False

    async def fetch(self, dialed: DialedNumber, known: Fetched | None = None) -> Fetched:
        assert dialed.number is not None
        self.asked.append((dialed.number.e164, known))
        revision = self.revision
        if self.held is not None:
            await self.held.wait()
        if self.failing is not None:
            raise self.failing
        document = persona(dialed.number.e164, revision=revision, **self.fields)
        return Fetched(document, asked_as=dialed.digits or "")

    async def aclose(self) -> None:
        self.closed = True


async def until(holds: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Let other tasks run until *holds* says yes."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  (what is waited for has no event to offer)
            await asyncio.sleep(0)
