"""One search for a persona: how long it may take, what it found, and the words for why."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from personas.asking import RESTING
from personas.cache import Landed
from personas.contract import Origin, Source
from personas.errors import PersonaError, PersonaInvalid, PersonaNotFound
from personas.model import Persona
from personas.sources.http import Fetched

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Step:
    """One source that was asked."""

    source: str  # cache, shared, api, last_known_good, file, house
    outcome: str  # a short word
    ms: float


@dataclass(frozen=True, slots=True)
class Found:
    """Who answers, where that came from, and what was asked on the way."""

    persona: Persona
    origin: Origin
    steps: tuple[Step, ...] = ()


class Search:
    """One search: until when it may take, and what was asked."""

    def __init__(self, ends_at: float) -> None:
        self._ends_at = ends_at
        self._since = time.perf_counter()
        self.steps: list[Step] = []

    def note(self, source: str, outcome: str) -> None:
        """Say what became of asking *source*, begun when the last note was taken."""
        now = time.perf_counter()
        self.steps.append(Step(source, outcome, round((now - self._since) * 1000, 3)))
        self._since = now

    def left_s(self) -> float:
        """Give the seconds until the search has to end."""
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())

    async def in_time(self, reading: Coroutine[Any, Any, _R | None]) -> _R | None:
        """Wait for *reading* until the search has to end; then it counts as nothing found."""
        try:
            async with asyncio.timeout_at(self._ends_at):
                return await reading
        except TimeoutError:
            return None


def from_cache(fetched: Fetched, age_s: float) -> Found:
    """Give a fresh copy."""
    origin = Origin(
        source="api",
        age_s=age_s,
        version=fetched.persona.version,
        because=f"the persona API answered {ago(age_s)}",
    )
    return Found(fetched.persona, origin, _CACHE_HIT)


def from_api(fetched: Fetched, search: Search) -> Found:
    """Give what the API answered, to this router or to another."""
    if fetched.age_s:
        search.note("shared", "fresh")
        because = f"the persona API answered another router {ago(fetched.age_s)}"
    else:
        search.note("api", "ok")
        because = "the persona API answered"
    return as_found(fetched.persona, "api", fetched.age_s, because, search)


_CACHE_HIT: Final = (Step("cache", "fresh", 0.0),)


def as_found(persona: Persona, source: Source, age_s: float, because: str, search: Search) -> Found:
    """Give *persona*, with what was asked on the way."""
    origin = Origin(source=source, age_s=age_s, version=persona.version, because=because)
    return Found(persona, origin, tuple(search.steps))


def outcome_of(landed: Landed[Fetched] | None) -> str:
    """Name what became of asking the API, in a word."""
    if landed is None:
        return "timeout"
    error = landed.error
    return error.reason if isinstance(error, PersonaError) else type(error).__name__


def why(landed: Landed[Fetched] | None) -> str:
    """Say in words why the API gave no persona."""
    outcome = outcome_of(landed)
    error = landed.error if landed is not None else None
    if isinstance(error, PersonaNotFound):
        return "the persona API knows no such number"
    if outcome == "timeout":
        said = "did not answer in time"
    elif outcome in {"connect", "connection"}:
        said = "could not be reached"
    elif outcome == RESTING:
        said = "failed too often and is left alone for a moment"
    elif outcome == "unauthorized":
        said = "refused our token"
    elif outcome == "other_number":
        said = "answered with another number's persona"
    elif isinstance(error, PersonaInvalid):
        said = "gave an answer that cannot be used"
    else:
        said = "failed"
    return f"the persona API {said} ({outcome})"


def ago(age_s: float) -> str:
    """Say how long ago *age_s* seconds is."""
    for unit, seconds in (("day", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= seconds:
            amount = int(age_s // seconds)
            return f"{amount} {unit}{'s' if unit == 'day' and amount > 1 else ''} ago"
    return f"{int(age_s)} s ago"
