"""Asking the persona API: behind the breaker, in turn with the other replicas; keeping the answer.

It runs whether or not a caller waits for it, and knows no budget.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

import structlog

from personas.breaker import Breaker, BreakerState, Permit
from personas.cache import Cache, Windows
from personas.errors import PersonaError, PersonaNotFound, PersonaUnavailable
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber
from personas.sources.http import Fetched
from personas.sources.last_known_good import LastKnownGood
from personas.sources.shared import SharedPersonas

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

RESTING: Final = "breaker_open"
MAX_STALE_S: Final = 86_400.0  # the most that a document can allow itself

#: Numbers in memory: 16 MiB where a persona is a kilobyte. A copy answers by itself for ten
#: minutes, so this is enough for six calls a second that are all to different numbers.
MAX_ENTRIES: Final = 4_000
CACHE_BYTES: Final = 8 * 1024 * 1024

# As dialed too, since the API is asked in that notation first and may know only some.
Key: TypeAlias = tuple[str, str | None, str | None]


class PersonaSource(Protocol):
    """What the lookup needs of the persona API."""

    async def fetch(self, dialed: DialedNumber, known: Fetched | None = None) -> Fetched:
        """Ask for the persona of *dialed*, or raise a ``PersonaError``."""
        ...

    async def aclose(self) -> None:
        """Release what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What the API is asked."""

    dialed: DialedNumber
    number: PhoneNumber

    @property
    def key(self) -> Key:
        """Under which its answer is kept in memory."""
        return self.number.e164, self.dialed.digits, self.dialed.region


def oldest_s(persona: Persona, max_stale_s: float) -> float:
    """How old a copy of *persona* may be, in seconds, if none may be older than *max_stale_s*."""
    own = persona.max_stale_s
    return max_stale_s if own is None else min(own, max_stale_s, MAX_STALE_S)


class Writes:
    """What is being written; nobody waits for it but who closes."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, writing: Coroutine[Any, Any, None]) -> None:
        """Have *writing* done."""
        task = asyncio.create_task(writing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until all is written."""
        if self._tasks:
            await asyncio.wait(self._tasks)


class PersonaApi:
    """The API at *source*. *is_fresh* says whether an answer that another replica has will do."""

    def __init__(
        self,
        source: PersonaSource,
        *,
        breaker: Breaker,
        writes: Writes,
        is_fresh: Callable[[Fetched], bool],
        shared: SharedPersonas | None = None,
        last_known_good: LastKnownGood | None = None,
    ) -> None:
        self._source = source
        self._breaker = breaker
        self._writes = writes
        self._is_fresh = is_fresh
        self._shared = shared
        self._last_known_good = last_known_good

    async def aclose(self) -> None:
        """Close the source."""
        await self._source.aclose()

    async def ask(self, question: Question, held: Fetched | None) -> Fetched:
        """Ask the API, unless it is left alone or another replica has asked.

        Raises:
            PersonaError: as the source does; ``reason`` is breaker_open when it is left alone.
        """
        permit = self._breaker.ask()
        if permit is None:
            raise PersonaUnavailable(reason=RESTING)
        try:
            if self._shared is None:
                return await self._ask(question, held, permit)
            return await self._ask_in_turn(question, self._shared, held, permit)
        finally:
            self._breaker.withdrawn(permit)

    async def _ask_in_turn(
        self, question: Question, shared: SharedPersonas, held: Fetched | None, permit: Permit
    ) -> Fetched:
        turn = await shared.turn(question.dialed, self._is_fresh)
        if turn is None:
            return await self._ask(question, held, permit)
        if turn.copy is not None and self._is_fresh(turn.copy):
            self._writes.add(shared.give_up(turn))
            return turn.copy
        try:
            fetched = await self._ask(question, held or turn.copy, permit)
        except BaseException as exc:
            if isinstance(exc, PersonaNotFound):
                self._writes.add(shared.forget(question.number))
            self._writes.add(shared.give_up(turn))
            raise
        self._writes.add(shared.put(turn, fetched))
        return fetched

    async def _ask(self, question: Question, held: Fetched | None, permit: Permit) -> Fetched:
        """Ask the API, and keep what it says on disk."""
        number, store = question.number, self._last_known_good
        try:
            fetched = await self._source.fetch(question.dialed, held)
        except PersonaUnavailable:
            self._breaker.failed(permit)
            raise
        except PersonaError as exc:  # it answers, if not as we like it
            self._breaker.answered(permit)
            if isinstance(exc, PersonaNotFound) and store is not None:
                self._writes.add(store.delete(number))
            raise
        self._breaker.answered(permit)
        if store is not None:
            self._writes.add(store.save(number, fetched.persona, question.dialed))
        return replace(fetched, age_s=0.0) if fetched.age_s else fetched


def answers_cache(
    clock: Callable[[], float],
    max_stale_s: float,
    *,
    windows: Windows | None = None,
    max_entries: int = MAX_ENTRIES,
    max_bytes: int = CACHE_BYTES,
) -> Cache[Key, Fetched]:
    """Make the memory for copies of the API's answers, bounded in number and in bytes."""
    return Cache(
        clock=clock,
        windows=windows,
        max_entries=max_entries,
        max_bytes=max_bytes,
        size=_size,
        age_s=lambda fetched: fetched.age_s,
        max_age_s=lambda fetched: oldest_s(fetched.persona, max_stale_s),
    )


def api_breaker(clock: Callable[[], float]) -> Breaker:
    """Make the breaker in front of the API, which logs how it turns."""

    def told(state: BreakerState) -> None:
        if state == "open":
            log.error("persona_api.left_alone", fix="look at its own log; copies answer meanwhile")
        else:
            log.info("persona_api.recovered")

    return Breaker(clock=clock, changed=told)


def _size(fetched: Fetched) -> int:
    return 2 * len(fetched.persona.raw) + 2048  # measured: its text, the fields read from it, us
