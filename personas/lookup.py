"""Which persona answers a dialed number: sources in order, never an error, always with a reason.

Fresh copy → copy shared by replicas → persona API → stale copy → last good copy on disk → file →
house persona. The API's "there is no such number" is an answer too: it drops the copies, and the
file or the house persona speaks. A caller waits at most the budget; an answer that comes later
serves the next call. An API that fails and fails is left alone by a breaker: its callers wait for
nobody, and one request now and then finds out whether it is back.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from cachetools import LRUCache

from personas.asking import (
    Key,
    PersonaApi,
    PersonaSource,
    Question,
    Writes,
    answers_cache,
    api_breaker,
    oldest_s,
)
from personas.breaker import Breaker, BreakerState
from personas.cache import Cache, Copy, Landed
from personas.contract import Origin
from personas.errors import PersonaInvalid, PersonaNotFound
from personas.found import Found, Search, Step, ago, as_found, from_api, from_cache, outcome_of, why
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber, read_dialed
from personas.sources.files import FilePersonaSource
from personas.sources.http import (
    Fetched,
)
from personas.sources.last_known_good import LastKnownGood
from personas.sources.shared import SharedPersonas
from personas.sources.shared_copies import Purge

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

API_SHARE: Final = 0.9  # of the budget; the rest is for the disk
PROBE_SHARE: Final = 0.15  # of the budget, for who asks while nobody knows whether the API is back
WARM_UP_AT_ONCE: Final = 4
MAX_TROUBLES: Final = 2_000  # numbers of which the last failure is remembered


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds of a number: the youngest copy, and the last failure of the API."""

    freshness: str | None = None
    age_s: float | None = None
    persona: str | None = None
    version: str | None = None
    trouble: str | None = None
    trouble_age_s: float | None = None


class PersonaLookup:
    """Finds personas. Collaborators that are ``None`` are skipped. *clock*: monotonic seconds.

    ``start`` begins what goes on in the background; without it personas are found all the same.
    """

    def __init__(
        self,
        *,
        house: Persona,
        source: PersonaSource | None = None,
        files: FilePersonaSource | None = None,
        last_known_good: LastKnownGood | None = None,
        shared: SharedPersonas | None = None,
        budget_s: float = 2.0,
        max_stale_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        cache: Cache[Key, Fetched] | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._house = house
        self._files = files
        self._last_known_good = last_known_good
        self._shared = shared
        self._budget_s = budget_s
        self._max_stale_s = max_stale_s
        self._cache = answers_cache(clock, max_stale_s) if cache is None else cache
        self._breaker = breaker or api_breaker(clock)
        self._writes = Writes()
        self._api = (
            PersonaApi(
                source,
                breaker=self._breaker,
                writes=self._writes,
                is_fresh=self._is_fresh,
                shared=shared,
                last_known_good=last_known_good,
            )
            if source is not None
            else None
        )
        self._background: list[asyncio.Task[None]] = []
        self._clock = clock
        self._troubles: LRUCache[str, tuple[float, str]] = LRUCache(MAX_TROUBLES)

    @property
    def house_persona(self) -> Persona:
        """The house persona as it was read last."""
        return self._house

    @property
    def breaker_state(self) -> BreakerState:
        """Whether the persona API is being asked."""
        return self._breaker.state

    @property
    def shared_well(self) -> bool | None:
        """Whether copies are shared with other replicas; ``None``: that is not configured."""
        return self._shared.well if self._shared is not None else None

    def start(self, *, warm_up: int = 0, region: str | None = None) -> None:
        """Join the other replicas, and have *warm_up* known numbers looked up, in the background.

        Numbers that are known from files alone are asked for as if dialed in *region*.
        """
        if self._shared is not None:
            self._run(self._shared.keep(self._purged_elsewhere))
        if warm_up:
            self._run(self._warm_up(warm_up, region))

    async def find(self, dialed: DialedNumber) -> Found:
        """Find who answers *dialed*, within the budget. Never raises."""
        try:
            number = dialed.number
            if number is None:
                return await self.house("number unknown")
            if self._api is None:
                search = Search(self._ends_at())
                return await self._without_api(number, "no persona API is configured", search)
            copy = self._cache.peek((number.e164, dialed.digits, dialed.region))
            if copy is not None and copy.freshness == "fresh" and copy.value is not None:
                return from_cache(copy.value, copy.age_s)
            return await self._search(Question(dialed, number), copy, self._api)
        except Exception:  # the caller is ringing: a defect of ours must not leave them there
            log.exception("lookup.broken")
            return self._house_found("the lookup failed by a defect of its own", ())

    def held(self, numbers: Collection[str]) -> dict[str, Held]:
        """Return what is known of *numbers* (E.164) without asking anybody."""
        found: dict[str, Held] = {}
        for key in self._cache.known():
            copy = self._cache.peek(key) if key[0] in numbers else None
            known = found.get(key[0])
            if copy and (known is None or copy.age_s < (known.age_s or 0.0)):
                persona = copy.value.persona if copy.value else None
                name, version = (persona.persona_name, persona.version) if persona else (None, None)
                found[key[0]] = Held(copy.freshness, copy.age_s, name, version)
        for number, (since, because) in self._troubles.items():
            if number in numbers:
                found[number] = replace(
                    found.get(number, Held()),
                    trouble=because,
                    trouble_age_s=self._clock() - since,
                )
        return found

    async def house(self, because: str) -> Found:
        """Give the house persona, for the reason *because*. Never raises."""
        return await self._house_speaks(because, Search(self._ends_at()))

    async def purge(self, number: PhoneNumber | None) -> bool | None:
        """Forget every copy of *number*, or of all numbers: in memory, on disk, on all replicas.

        Files of PERSONA_DIR are not copies. True: the other replicas know; False: they will hear
        of it when Redis is back; ``None``: there is no Redis to tell them by.
        """
        told = await self._shared.purge(number) if self._shared is not None else None
        self._forget(number)
        if self._last_known_good is not None:
            await self._last_known_good.delete(number)
        log.info("personas.purged", all=number is None, told_others=told)
        return told

    async def aclose(self) -> None:
        """End the fetches that are under way, finish writing, close the sources."""
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        await self._cache.aclose()
        await self._writes.finish()
        if self._shared is not None:
            await self._shared.aclose()
        if self._last_known_good is not None:
            await self._last_known_good.aclose()
        if self._api is not None:
            await self._api.aclose()

    def _ends_at(self) -> float:
        return asyncio.get_running_loop().time() + self._budget_s

    # ---- the API and the copies of its answers ----

    async def _search(
        self, question: Question, copy: Copy[Fetched] | None, api: PersonaApi
    ) -> Found:
        search = Search(self._ends_at())
        number, key = question.number, question.key
        if self._shared is not None and (copy is None or copy.freshness == "stale"):
            copy = await self._with_shared(question, self._shared, copy)
            if copy is not None and copy.freshness == "fresh" and copy.value is not None:
                search.note("shared", "fresh")
                because = f"the persona API answered another router {ago(copy.age_s)}"
                return as_found(copy.value.persona, "api", copy.age_s, because, search)
        if copy is not None and copy.freshness == "revalidating" and copy.value is not None:
            self._begin(question, api)
            search.note("cache", "revalidating")
            because = f"the persona API answered {ago(copy.age_s)}; it is being asked again"
            return as_found(copy.value.persona, "stale", copy.age_s, because, search)
        if copy is not None and copy.freshness == "absent":
            search.note("cache", "absent")
            because = "the persona API knows no such number"
            return await self._without_api(number, because, search)
        landed = await self._cache.fetch(
            key,
            lambda held: api.ask(question, held),
            patience_s=search.left_s() - self._budget_s * (1 - self._patience()),
        )
        if landed is not None and landed.value is not None:
            self._troubles.pop(number.e164, None)
            return from_api(landed.value, search)
        search.note("api", outcome_of(landed))
        because = why(landed)
        if landed is not None and isinstance(landed.error, PersonaNotFound):
            return await self._without_api(number, because, search)
        return await self._from_copies(number, key, because, search)

    def _patience(self) -> float:
        """Share of the budget that a caller waits for the API."""
        return API_SHARE if self._breaker.state == "closed" else PROBE_SHARE

    async def _with_shared(
        self, question: Question, shared: SharedPersonas, copy: Copy[Fetched] | None
    ) -> Copy[Fetched] | None:
        """Take over the copy that the replicas share, if it is better than *copy*."""
        purges = self._cache.purges
        found = await shared.find(question.dialed)
        if found is None or purges != self._cache.purges:  # read before a purge, come after it
            return copy
        self._cache.offer(question.key, found)
        return self._cache.peek(question.key)

    def _is_fresh(self, fetched: Fetched) -> bool:
        limit = min(self._cache.windows.fresh_s, oldest_s(fetched.persona, self._max_stale_s))
        return fetched.age_s < limit

    async def _from_copies(
        self, number: PhoneNumber, key: Key, because: str, search: Search
    ) -> Found:
        self._troubles[number.e164] = (self._clock(), because)
        copy = self._cache.peek(key)
        if copy is not None and copy.value is not None:
            search.note("cache", "stale")
            because = f"{because}; last copy of {ago(copy.age_s)}"
            return as_found(copy.value.persona, "stale", copy.age_s, because, search)
        if self._last_known_good is not None:
            kept = await search.in_time(self._last_known_good.load(number))
            if kept is not None and kept.age_s >= oldest_s(kept.persona, self._max_stale_s):
                search.note("last_known_good", "too_old")
                return await self._without_api(number, because, search)
            search.note("last_known_good", "ok" if kept else "none")
            if kept is not None:
                because = f"{because}; last good copy on disk, of {ago(kept.age_s)}"
                return as_found(kept.persona, "last_known_good", kept.age_s, because, search)
        return await self._without_api(number, because, search)

    # ---- in the background ----

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._background.append(asyncio.create_task(work))

    def _forget(self, number: PhoneNumber | None) -> None:
        self._cache.purge(lambda key: number is None or key[0] == number.e164)

    def _purged_elsewhere(self, purge: Purge) -> None:
        self._forget(purge.number)
        if self._last_known_good is not None:
            self._writes.add(self._last_known_good.delete(purge.number, before=purge.before))
        log.info("personas.purged", all=purge.number is None, by="another router")

    async def _warm_up(self, limit: int, region: str | None) -> None:
        since = time.perf_counter()
        known: dict[str, DialedNumber] = {}
        if self._last_known_good is not None:
            for dialed in await self._last_known_good.known(limit):
                known.setdefault(dialed.number.e164 if dialed.number else "", dialed)
        if self._files is not None:
            for number in await self._files.numbers(limit):
                known.setdefault(number.e164, read_dialed(number.e164, region))
        left = iter(list(known.values())[:limit])
        await asyncio.gather(*(self._warm(left) for _ in range(WARM_UP_AT_ONCE)))
        took_ms = round((time.perf_counter() - since) * 1000)
        log.info("personas.warmed", numbers=min(limit, len(known)), ms=took_ms)

    async def _warm(self, left: Iterator[DialedNumber]) -> None:
        for dialed in left:
            if dialed.number is None:
                continue
            if self._files is not None:
                with contextlib.suppress(PersonaInvalid):  # it is told where it is read
                    await self._files.find(dialed.number)
            if self._api is not None and self._breaker.state == "closed":
                question = Question(dialed, dialed.number)
                if self._cache.peek(question.key) is None:
                    await asyncio.wait({self._begin(question, self._api)})

    def _begin(self, question: Question, api: PersonaApi) -> "asyncio.Task[Landed[Fetched]]":
        return self._cache.start(question.key, lambda held: api.ask(question, held))

    # ---- file and house ----

    async def _without_api(self, number: PhoneNumber, because: str, search: Search) -> Found:
        if self._files is None:
            return await self._house_speaks(because, search)
        try:
            persona = await search.in_time(self._files.find(number))
        except PersonaInvalid as exc:
            search.note("file", exc.reason)
            return await self._house_speaks(f"{because}; its file is broken", search)
        search.note("file", "ok" if persona else "none")
        if persona is not None:
            return as_found(persona, "file", 0.0, f"{because}; it has a file", search)
        return await self._house_speaks(f"{because}; it has no file", search)

    async def _house_speaks(self, because: str, search: Search) -> Found:
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
