"""Which persona answers a dialed number: sources in order, never an error, always with a reason.

Fresh copy → persona API → stale copy → last good copy on disk → file → house persona. The API's
"there is no such number" is an answer too: it drops the copies, and the file or the house persona
speaks. A caller waits at most the budget; an answer that comes later serves the next call.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import httpx
import structlog

from personas.cache import Cache, Copy, Landed, Windows
from personas.contract import Origin, Source
from personas.errors import PersonaError, PersonaInvalid, PersonaNotFound, PersonaUnavailable
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber
from personas.sources.files import FilePersonaSource, house
from personas.sources.http import (
    NUMBER_FIELDS,
    NUMBER_FORMS,
    Fetched,
    HttpPersonaSource,
    NumberForm,
)
from personas.sources.last_known_good import LastKnownGood

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

API_SHARE: Final = 0.9  # of the budget; the rest is for the disk
FETCH_CAP: Final = 2.0  # budgets; how long a fetch that nobody waits for may go on
ILL_AFTER: Final = 3  # failures in a row
ILL_FOR_S: Final = 10.0
ILL_PATIENCE: Final = 0.15  # of the budget, while the API is ill

# As dialed too, since the API is asked in that notation first and may know only some.
Key: TypeAlias = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One source that was asked."""

    source: str  # cache, api, last_known_good, file, house
    outcome: str  # a short word
    ms: float


@dataclass(frozen=True, slots=True)
class Found:
    """Who answers, where that came from, and what was asked on the way."""

    persona: Persona
    origin: Origin
    steps: tuple[Step, ...] = ()


class PersonaSource(Protocol):
    """What the lookup needs of the persona API."""

    async def fetch(self, dialed: DialedNumber, known: Fetched | None = None) -> Fetched:
        """Ask for the persona of *dialed*, or raise a ``PersonaError``."""
        ...

    async def aclose(self) -> None:
        """Release what it holds."""
        ...


class PersonaLookup:
    """Finds personas. Collaborators that are ``None`` are skipped. *clock*: monotonic seconds."""

    def __init__(
        self,
        *,
        house: Persona,
        source: PersonaSource | None = None,
        files: FilePersonaSource | None = None,
        last_known_good: LastKnownGood | None = None,
        budget_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        cache: Cache[Key, Fetched] | None = None,
    ) -> None:
        self._house = house
        self._source = source
        self._files = files
        self._last_known_good = last_known_good
        self._budget_s = budget_s
        self._clock = clock
        self._cache: Cache[Key, Fetched] = Cache(clock=clock) if cache is None else cache
        self._failures = 0
        self._failed_at = clock()
        self._writes: set[asyncio.Task[None]] = set()

    @property
    def house_persona(self) -> Persona:
        """The house persona as it was read last."""
        return self._house

    async def find(self, dialed: DialedNumber) -> Found:
        """Find who answers *dialed*, within the budget. Never raises."""
        try:
            number = dialed.number
            if number is None:
                return await self.house("number unknown")
            if self._source is None:
                search = _Search(self._ends_at())
                return await self._without_api(number, "no persona API is configured", search)
            key = (number.e164, dialed.digits, dialed.region)
            copy = self._cache.peek(key)
            if copy is not None and copy.freshness == "fresh" and copy.value is not None:
                return _from_cache(copy.value, copy.age_s)
            return await self._search(dialed, number, key, copy, self._source)
        except Exception:  # the caller is ringing: a defect of ours must not leave them there
            log.exception("lookup.broken")
            return self._house_found("the lookup failed by a defect of its own", ())

    async def house(self, because: str) -> Found:
        """Give the house persona, for the reason *because*. Never raises."""
        return await self._house_speaks(because, _Search(self._ends_at()))

    async def aclose(self) -> None:
        """End the fetches that are under way, finish writing, close the sources."""
        await self._cache.aclose()
        if self._writes:
            await asyncio.wait(self._writes)
        if self._last_known_good is not None:
            await self._last_known_good.aclose()
        if self._source is not None:
            await self._source.aclose()

    def _ends_at(self) -> float:
        return asyncio.get_running_loop().time() + self._budget_s

    # ---- the API and the copies of its answers ----

    async def _search(
        self,
        dialed: DialedNumber,
        number: PhoneNumber,
        key: Key,
        copy: Copy[Fetched] | None,
        source: PersonaSource,
    ) -> Found:
        search = _Search(self._ends_at())

        async def get(held: Fetched | None) -> Fetched:
            return await self._fetch(source, dialed, number, held)

        if copy is not None and copy.freshness == "revalidating" and copy.value is not None:
            self._cache.start(key, get)
            search.note("cache", "revalidating")
            because = f"the persona API answered {_ago(copy.age_s)}; it is being asked again"
            return _found(copy.value.persona, "stale", copy.age_s, because, search)
        if copy is not None and copy.freshness == "absent":
            search.note("cache", "absent")
            because = "the persona API knows no such number"
            return await self._without_api(number, because, search)
        landed = await self._cache.fetch(key, get, patience_s=self._patience_s())
        if landed is not None and landed.value is not None:
            search.note("api", "ok")
            return _found(landed.value.persona, "api", 0.0, "the persona API answered", search)
        search.note("api", _outcome(landed))
        because = _why(landed)
        if landed is not None and isinstance(landed.error, PersonaNotFound):
            return await self._without_api(number, because, search)
        return await self._from_copies(number, key, because, search)

    async def _fetch(
        self,
        source: PersonaSource,
        dialed: DialedNumber,
        number: PhoneNumber,
        held: Fetched | None,
    ) -> Fetched:
        """Ask the API, and keep what it says on disk; runs whether or not anybody waits."""
        try:
            fetched = await source.fetch(dialed, held)
        except PersonaNotFound:
            self._failures = 0
            if self._last_known_good is not None:
                self._write(self._last_known_good.delete(number))
            raise
        except PersonaUnavailable:
            self._failures += 1
            self._failed_at = self._clock()
            raise
        self._failures = 0
        if self._last_known_good is not None:
            self._write(self._last_known_good.save(number, fetched.persona))
        return fetched

    def _patience_s(self) -> float:
        """How long to wait for the API: while it fails and fails, not every caller has to wait."""
        ill = self._failures >= ILL_AFTER and self._clock() - self._failed_at < ILL_FOR_S
        return self._budget_s * (ILL_PATIENCE if ill else API_SHARE)

    def _write(self, writing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(writing)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _from_copies(
        self, number: PhoneNumber, key: Key, because: str, search: "_Search"
    ) -> Found:
        copy = self._cache.peek(key)
        if copy is not None and copy.value is not None:
            search.note("cache", "stale")
            because = f"{because}; last copy of {_ago(copy.age_s)}"
            return _found(copy.value.persona, "stale", copy.age_s, because, search)
        if self._last_known_good is not None:
            kept = await search.in_time(self._last_known_good.load(number))
            search.note("last_known_good", "ok" if kept else "none")
            if kept is not None:
                because = f"{because}; last good copy on disk, of {_ago(kept.age_s)}"
                return _found(kept.persona, "last_known_good", kept.age_s, because, search)
        return await self._without_api(number, because, search)

    # ---- file and house ----

    async def _without_api(self, number: PhoneNumber, because: str, search: "_Search") -> Found:
        if self._files is None:
            return await self._house_speaks(because, search)
        try:
            persona = await search.in_time(self._files.find(number))
        except PersonaInvalid as exc:
            search.note("file", exc.reason)
            return await self._house_speaks(f"{because}; its file is broken", search)
        search.note("file", "ok" if persona else "none")
        if persona is not None:
            return _found(persona, "file", 0.0, f"{because}; it has a file", search)
        return await self._house_speaks(f"{because}; it has no file", search)

    async def _house_speaks(self, because: str, search: "_Search") -> Found:
        if self._files is not None:
            try:
                self._house = await search.in_time(self._files.house()) or self._house
            except Exception:  # whoever is asked last has to answer
                log.exception("house.unreadable")
        search.note("house", "ok")
        return self._house_found(because, tuple(search.steps))

    def _house_found(self, because: str, steps: tuple[Step, ...]) -> Found:
        origin = Origin(source="house", version=self._house.version, because=because)
        return Found(self._house, origin, steps)


_R = TypeVar("_R")


class _Search:
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

    async def in_time(self, reading: Coroutine[Any, Any, _R | None]) -> _R | None:
        """Wait for *reading* until the search has to end; then it counts as nothing found."""
        try:
            async with asyncio.timeout_at(self._ends_at):
                return await reading
        except TimeoutError:
            return None


def _from_cache(fetched: Fetched, age_s: float) -> Found:
    origin = Origin(
        source="api",
        age_s=age_s,
        version=fetched.persona.version,
        because=f"the persona API answered {_ago(age_s)}",
    )
    return Found(fetched.persona, origin, _CACHE_HIT)


_CACHE_HIT: Final = (Step("cache", "fresh", 0.0),)


def _found(persona: Persona, source: Source, age_s: float, because: str, search: _Search) -> Found:
    origin = Origin(source=source, age_s=age_s, version=persona.version, because=because)
    return Found(persona, origin, tuple(search.steps))


def _outcome(landed: Landed[Fetched] | None) -> str:
    if landed is None:
        return "timeout"
    error = landed.error
    return error.reason if isinstance(error, PersonaError) else type(error).__name__


def _why(landed: Landed[Fetched] | None) -> str:
    """Say in words why the API gave no persona."""
    outcome = _outcome(landed)
    error = landed.error if landed is not None else None
    if isinstance(error, PersonaNotFound):
        return "the persona API knows no such number"
    if outcome == "timeout":
        said = "did not answer in time"
    elif outcome in {"connect", "connection"}:
        said = "could not be reached"
    elif outcome == "unauthorized":
        said = "refused our token"
    elif outcome == "other_number":
        said = "answered with another number's persona"
    elif isinstance(error, PersonaInvalid):
        said = "gave an answer that cannot be used"
    else:
        said = "failed"
    return f"the persona API {said} ({outcome})"


def _ago(age_s: float) -> str:
    for unit, seconds in (("day", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= seconds:
            amount = int(age_s // seconds)
            return f"{amount} {unit}{'s' if unit == 'day' and amount > 1 else ''} ago"
    return f"{int(age_s)} s ago"


def build_lookup(
    *,
    api_base: str | None = None,
    api_token: str | None = None,
    number_forms: Sequence[NumberForm] = NUMBER_FORMS,
    number_fields: Sequence[str] = NUMBER_FIELDS,
    budget_s: float = 2.0,
    persona_dir: Path | None = None,
    state_dir: Path | None = None,
    max_entries: int = 50_000,
    windows: Windows | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    count: Callable[[str], None] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    read_only: bool = False,
) -> PersonaLookup:
    """Put a lookup together from plain values; close it with ``aclose``.

    Args:
        api_base: the persona API is asked as ``<api_base>/<number>``; ``None``: there is none.
        api_token: its bearer token.
        number_forms: in which notations it is asked, in order.
        number_fields: fields of an answer which, when there, must hold the number asked for.
        budget_s: the longest that a caller waits.
        persona_dir: folder of ``<number>.yaml`` and ``house.yaml``.
        state_dir: folder in which ``last-known-good/`` is kept; ``None``: nowhere.
        max_entries: numbers kept in memory, if they fit into 64 MiB.
        windows: how old a copy may be.
        clock: monotonic seconds.
        wall: Unix seconds.
        count: told the outcome of every request to the API, a short word.
        transport: what requests to the API go through; ``None``: the network.
        read_only: the copies on disk are read, never written or removed.
    """
    source = api_base and HttpPersonaSource(
        api_base,
        token=api_token,
        deadline_s=budget_s * FETCH_CAP,
        forms=number_forms,
        number_fields=number_fields,
        transport=transport,
        count=count,
    )
    return PersonaLookup(
        house=house(persona_dir),
        source=source or None,
        files=FilePersonaSource(persona_dir) if persona_dir else None,
        last_known_good=(
            LastKnownGood(state_dir / "last-known-good", wall=wall, read_only=read_only)
            if state_dir and source
            else None
        ),
        budget_s=budget_s,
        clock=clock,
        cache=Cache(clock=clock, windows=windows, max_entries=max_entries, size=_size),
    )


def _size(fetched: Fetched) -> int:
    return 2 * len(fetched.persona.raw) + 2048  # measured: its text, the fields read from it, us
