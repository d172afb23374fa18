"""Copies in memory: fresh, stale but usable, or known not to exist; one fetch at a time per key.

A copy is *fresh* for a minute. Up to ten minutes old it still answers at once, while one fetch in
the background renews it. Up to a day old it answers when the fetch fails. That a key does not
exist is believed for half a minute.

A fetch belongs to nobody who waits for it: when the caller's patience ends it runs on, and its
answer is there for the next call. It is kept under the key it was started for and no other.

A purge forgets copies, and what fetches that began before it will answer: who waits for one of
those waits for a new one.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import structlog
from cachetools import LRUCache

from personas.errors import PersonaError, PersonaNotFound

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Freshness = Literal["fresh", "revalidating", "stale", "absent"]


@dataclass(frozen=True, slots=True)
class Windows:
    """How old a copy may be, in seconds."""

    fresh_s: float = 60.0
    revalidate_s: float = 600.0  # answers at once, and is renewed in the background
    on_error_s: float = 86_400.0  # answers when nothing newer is to be had
    absent_s: float = 30.0  # how long a "there is none" is believed


@dataclass(frozen=True, slots=True)
class Copy(Generic[V]):
    """A value out of the cache."""

    value: V | None  # None: the source said that there is none
    age_s: float
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Landed(Generic[V]):
    """How a fetch ended: with a value, or with the reason why not."""

    value: V | None
    error: Exception | None = None


class Cache(Generic[K, V]):
    """At most *max_entries* values, of at most *max_bytes* as *size* measures them.

    *clock* gives monotonic seconds. *age_s* tells how old a value is when it is put in here,
    *max_age_s* how old it may become. Not for use from several threads.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        windows: Windows | None = None,
        max_entries: int = 50_000,
        max_bytes: int = 64 * 1024 * 1024,
        size: Callable[[V], int] = lambda _value: 0,
        age_s: Callable[[V], float] = lambda _value: 0.0,
        max_age_s: Callable[[V], float] = lambda _value: math.inf,
    ) -> None:
        self.windows = windows or Windows()
        self.purges = 0  # so that who waited can see that one came between
        self._clock = clock
        self._age_s = age_s
        self._max_age_s = max_age_s
        self._closed = False
        least = max_bytes // max_entries  # so that no more than max_entries fit, however small
        # Value, since when it is what it is, and how old it may become.
        self._entries: LRUCache[K, tuple[V | None, float, float]] = LRUCache(
            least * max_entries,
            getsizeof=lambda entry: max(least, 0 if entry[0] is None else size(entry[0])),
        )
        self._flights: dict[K, asyncio.Task[Landed[V]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: K) -> Copy[V] | None:
        """Give the copy of *key* if it may still be used for anything."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, since, max_age_s = entry
        age_s = self._clock() - since
        windows = self.windows
        if age_s >= max_age_s:
            return None
        if value is None:
            return Copy(None, age_s, "absent")
        if age_s < windows.fresh_s:
            return Copy(value, age_s, "fresh")
        if age_s < windows.revalidate_s:
            return Copy(value, age_s, "revalidating")
        return Copy(value, age_s, "stale")

    def known(self) -> list[K]:
        """Return what something is held of."""
        return list(self._entries)

    def offer(self, key: K, value: V) -> None:
        """Keep *value*, which somebody else has fetched, unless what is held is newer."""
        entry = self._entries.get(key)
        if entry is None or entry[1] < self._clock() - self._age_s(value):
            self._keep(key, value)

    async def fetch(
        self, key: K, get: Callable[[V | None], Awaitable[V]], *, patience_s: float
    ) -> Landed[V] | None:
        """Wait up to *patience_s* for a fetch of *key*; ``None``: it is still under way.

        A fetch of this key that is under way already is waited for; otherwise *get* is started,
        and told the value held so far. Cancelling the wait does not cancel the fetch.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + patience_s
        while True:
            flight = self.start(key, get)
            await asyncio.wait({flight}, timeout=max(0.0, ends_at - loop.time()))
            if not flight.done():
                return None
            if not flight.cancelled():
                return flight.result()
            if self._closed:
                return None

    def start(self, key: K, get: Callable[[V | None], Awaitable[V]]) -> "asyncio.Task[Landed[V]]":
        """Have *key* fetched, unless that is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key, get), name="persona-fetch")
            self._flights[key] = flight
            flight.add_done_callback(lambda task: self._landed(key, task))
        return flight

    def purge(self, concerns: Callable[[K], bool]) -> None:
        """Forget every key that *concerns* says yes to, and what is being fetched for it."""
        self.purges += 1
        for key in [key for key in self._entries if concerns(key)]:
            del self._entries[key]
        for key in [key for key in self._flights if concerns(key)]:
            self._flights.pop(key).cancel()

    def _landed(self, key: K, flight: "asyncio.Task[Landed[V]]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(self, key: K, get: Callable[[V | None], Awaitable[V]]) -> Landed[V]:
        landed = await self._get(key, get)
        if self._flights.get(key) is not asyncio.current_task():
            raise asyncio.CancelledError  # purged, and the source swallowed that
        if landed.value is not None:
            self._keep(key, landed.value)
        elif isinstance(landed.error, PersonaNotFound):
            self._entries[key] = (None, self._clock(), self.windows.absent_s)
        return landed

    async def _get(self, key: K, get: Callable[[V | None], Awaitable[V]]) -> Landed[V]:
        entry = self._entries.get(key)
        try:
            return Landed(await get(entry[0] if entry else None))
        except PersonaError as exc:
            return Landed(None, exc)
        except Exception as exc:  # a bug in a source must not take the waiting calls down
            log.exception("persona_fetch.broken")
            return Landed(None, exc)

    def _keep(self, key: K, value: V) -> None:
        max_age_s = min(self.windows.on_error_s, self._max_age_s(value))
        try:
            self._entries[key] = (value, self._clock() - self._age_s(value), max_age_s)
        except ValueError:  # larger than the whole cache
            self._entries.pop(key, None)

    async def aclose(self) -> None:
        """Cancel the fetches that are under way and wait until they have ended."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
