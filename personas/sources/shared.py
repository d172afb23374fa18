"""Copies that replicas share through Redis: a cache, never the truth, and never worth a wait.

Each copy is checked on reading as an answer of the API is: its shape, its hash, its number. Of
several replicas that need the same persona one asks the API, while the others look for its answer
for at most ``LOCK_S``. A purge is an entry in a stream that every replica reads, so one that was
cut off for a while hears of it late, but it hears of it.

Deadlines: a question on the way to an answer has ``HOT_S``, and a caller pays for two at most.
After one that was not answered in time Redis is left alone for ``REST_S``. Connecting, writing and
listening happen in the background.

The only module that speaks to Redis. Its library comes with the extra ``redis`` and is loaded
when a Redis is configured.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from pydantic import ValidationError

from personas.errors import PersonaInvalid
from personas.phone import DialedNumber, PhoneNumber
from personas.sources.http import NUMBER_FIELDS, Fetched
from personas.sources.shared_copies import (
    Copy,
    Purge,
    hashed,
    names_of,
    number_in,
    purge_in,
    read_copy,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

HOT_S: Final = 0.025  # one question while a caller waits; there are two of them at most
REST_S: Final = 5.0  # how long Redis is left alone after it did not answer
LOCK_S: Final = 1.0  # how long one replica's question to the API keeps the others waiting
POLL_S: Final = 0.02
WRITE_S: Final = 0.5  # in the background
CONNECT_S: Final = 2.0  # in the background
LISTEN_S: Final = 1.0  # one listening for purges; what does not end is a dead connection
RETRY_S: Final = 0.5  # between two attempts to reach it
KEEP_S: Final = 86_400
MAX_PURGES: Final = 1000  # that are remembered for replicas that were away
MAX_CONNECTIONS: Final = 64
_WARM_CONNECTIONS: Final = 4

# Keys: value, lock, generation. A copy that was asked for before a purge is not put back after it.
_PUT = """
local lock = redis.call('GET', KEYS[2])
if (redis.call('GET', KEYS[3]) or '0') == ARGV[3] and ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
end
if lock == ARGV[4] then redis.call('DEL', KEYS[2]) end
"""

# Keys: generation, floor, stream, value. Without a value every copy of an older generation is void.
_PURGE = """
local generation = redis.call('INCR', KEYS[1])
if KEYS[4] then redis.call('DEL', KEYS[4]) else redis.call('SET', KEYS[2], generation) end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'number', ARGV[1], 'by', ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[4])
"""

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Turn:
    """What Redis said before the API is asked."""

    dialed: DialedNumber
    copy: Fetched | None
    token: str
    generation: str


class SharedPersonas:
    """Copies in the Redis at *url*, apart from those of every other *namespace*.

    *clock* gives monotonic seconds, *wall* Unix seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        number_fields: Sequence[str] = NUMBER_FIELDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        lock_s: float = LOCK_S,
        hot_s: float = HOT_S,
    ) -> None:
        from redis import asyncio as redis
        from redis import exceptions
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._busy = exceptions.MaxConnectionsError
        self._errors = (exceptions.RedisError, OSError)  # TimeoutError is one of the latter
        self._client = redis.Redis.from_url(
            url,
            protocol=2,
            max_connections=MAX_CONNECTIONS,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=LISTEN_S + CONNECT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._prefix = f"persona-router:{hashlib.sha256(namespace.encode()).hexdigest()[:12]}:"
        self._number_fields = tuple(number_fields)
        self._clock = clock
        self._wall = wall
        self._lock_s = lock_s
        self._hot_s = hot_s
        self._me = secrets.token_hex(8)
        self._heard = b"0"  # the last entry of the stream
        self._owed: list[PhoneNumber | None] = []  # purges that Redis has not been told
        self._well = False
        self._told_away = False
        self._rests_until = 0.0
        self._reads: dict[tuple[str, str], asyncio.Task[Fetched | None]] = {}

    @property
    def well(self) -> bool:
        """Whether it is reached and asked at this moment."""
        return self._well and self._clock() >= self._rests_until

    async def aclose(self) -> None:
        """Close its connections."""
        for read in self._reads.values():
            read.cancel()
        await self._client.aclose()

    # ---- on the way to an answer ----

    async def find(self, dialed: DialedNumber) -> Fetched | None:
        """Give the copy for *dialed*, whatever its age; callers at the same time share a read."""
        if not self.well:
            return None
        key = names_of(dialed)
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._find(dialed))
            read.add_done_callback(lambda _task: self._reads.pop(key, None))
        await asyncio.wait({read})
        return None if read.cancelled() else read.result()

    async def turn(self, dialed: DialedNumber, good: Callable[[Fetched], bool]) -> Turn | None:
        """Wait for this replica's turn to ask the API; ``None``: Redis is not to be had.

        It ends early with a copy that is *good* because another replica has asked, and at the
        latest after ``lock_s``. Say with ``put`` or ``give_up`` how it ended.
        """
        token = secrets.token_hex(8)
        ends_at = self._clock() + self._lock_s
        while True:
            found = await self._hot(lambda: self._ask_for_turn(dialed, token))
            if found is None:
                return None
            turn, locked = found
            if locked or (turn.copy and good(turn.copy)) or self._clock() >= ends_at:
                return turn
            await asyncio.sleep(POLL_S)

    async def _find(self, dialed: DialedNumber) -> Fetched | None:
        value, field = self._value_of(dialed)

        async def ask() -> Sequence[Any]:
            pipe = self._client.pipeline(transaction=False)
            pipe.hget(value, field)
            pipe.mget(self._prefix + "generation", self._prefix + "floor")
            answers: Sequence[Any] = await _outcome(pipe.execute(raise_on_error=False))
            return answers

        found = await self._hot(ask)
        return self._read(dialed, *found) if found else None

    async def _ask_for_turn(self, dialed: DialedNumber, token: str) -> tuple[Turn, bool]:
        value, field = self._value_of(dialed)
        pipe = self._client.pipeline(transaction=False)
        pipe.hget(value, field)
        pipe.mget(self._prefix + "generation", self._prefix + "floor")
        pipe.set(self._lock_of(dialed), token, nx=True, px=int(self._lock_s * 1000))
        text, counters, locked = await _outcome(pipe.execute(raise_on_error=False))
        generation = number_in(counters, 0)
        turn = Turn(dialed, self._read(dialed, text, counters), token, str(generation))
        return turn, locked is True

    async def _hot(self, ask: Callable[[], Awaitable[_R]]) -> _R | None:
        if not self.well:
            return None
        try:
            async with asyncio.timeout(self._hot_s):
                return await ask()
        except self._busy:
            return None
        except self._errors as exc:
            self._rest(exc)
        except Exception as exc:  # a caller is waiting, and this is but a cache
            log.exception("shared_personas.broken")
            self._rest(exc)
        return None

    def _read(self, dialed: DialedNumber, text: Any, counters: Any) -> Fetched | None:
        if not isinstance(text, bytes):
            return None
        try:
            return read_copy(
                text,
                counters,
                dialed,
                number_fields=self._number_fields,
                now=self._wall(),
            )
        except (ValidationError, PersonaInvalid):
            log.error("shared_persona.refused")
            return None

    # ---- in the background ----

    async def put(self, turn: Turn, fetched: Fetched) -> None:
        """Share what the API answered, and let the others go on."""
        number = turn.dialed.number
        if number is None:
            return
        copy = Copy(
            number=number.e164,
            digits=turn.dialed.digits,
            region=turn.dialed.region,
            asked_as=fetched.asked_as,
            etag=fetched.etag,
            asked_at=self._wall(),
            generation=int(turn.generation),
            version=fetched.persona.version,
            raw=fetched.persona.raw,
        )
        await self._end(turn, copy.model_dump_json())

    async def give_up(self, turn: Turn) -> None:
        """Let the others go on without an answer."""
        await self._end(turn, "")

    async def forget(self, number: PhoneNumber) -> None:
        """Drop the copies of *number*: the API knows it no more."""
        await self._told(lambda: self._client.delete(self._prefix + hashed(number.e164)))

    async def purge(self, number: PhoneNumber | None) -> bool:
        """Tell every replica to forget *number*, or every number; False: they will hear later."""
        told = await self._told(lambda: self._purge(number), even_unwell=True)
        if not told:
            self._owed.append(number)
        return told

    async def keep(self, purged: Callable[[Purge], None]) -> None:
        """Stay connected, and report the purges of other replicas; runs until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    # As many connections as a few callers at a time need: none of them connects.
                    pings = (_outcome(self._client.ping()) for _ in range(_WARM_CONNECTIONS))
                    await asyncio.gather(*pings)
                    while self._owed:
                        await self._purge(self._owed[0])
                        del self._owed[0]
                while True:
                    await self._listen(purged)
            except self._errors as exc:
                self._lost(exc)
            except Exception:  # without this task a purge would not be heard
                log.exception("shared_personas.broken")
                self._well = False
            await asyncio.sleep(RETRY_S)

    async def _listen(self, purged: Callable[[Purge], None]) -> None:
        wait_ms = int(LISTEN_S * 1000) if self._well else None  # first what was missed
        async with asyncio.timeout(LISTEN_S + CONNECT_S):
            stream: Any = {self._prefix + "purges": self._heard}
            heard: Any = await self._client.xread(stream, count=MAX_PURGES, block=wait_ms)
        for entry, fields in heard[0][1] if heard else ():
            self._heard = entry
            if fields.get(b"by") != self._me.encode() and (purge := purge_in(entry, fields)):
                purged(purge)
        if not self._well:
            self._well, self._told_away = True, False
            log.info("shared_personas.reached")

    async def _purge(self, number: PhoneNumber | None) -> None:
        keys = [self._prefix + name for name in ("generation", "floor", "purges")]
        if number is not None:
            keys.append(self._prefix + hashed(number.e164))
        e164 = number.e164 if number else ""
        arguments = (e164, self._me, MAX_PURGES, KEEP_S)
        await _outcome(self._client.eval(_PURGE, len(keys), *keys, *map(str, arguments)))

    async def _end(self, turn: Turn, text: str) -> None:
        value, field = self._value_of(turn.dialed)
        keys = (value, self._lock_of(turn.dialed), self._prefix + "generation")
        arguments = (field, text, turn.generation, turn.token, str(KEEP_S))
        await self._told(lambda: self._client.eval(_PUT, len(keys), *keys, *arguments))

    async def _told(self, tell: Callable[[], Any], *, even_unwell: bool = False) -> bool:
        if not self.well and not even_unwell:
            return False
        try:
            async with asyncio.timeout(WRITE_S):
                await _outcome(tell())
        except self._errors as exc:
            self._rest(exc)
            return False
        return True

    def _rest(self, exc: BaseException) -> None:
        if self.well:
            log.warning("shared_personas.rested", reason=type(exc).__name__, for_s=REST_S)
        self._rests_until = self._clock() + REST_S

    def _lost(self, exc: BaseException) -> None:
        if not self._told_away:
            log.error("shared_personas.lost", reason=type(exc).__name__, fix="see REDIS_URL")
        self._well, self._told_away = False, True

    def _value_of(self, dialed: DialedNumber) -> tuple[str, str]:
        number, field = names_of(dialed)
        return self._prefix + number, field

    def _lock_of(self, dialed: DialedNumber) -> str:
        number, field = names_of(dialed)
        return f"{self._prefix}asking:{number}:{field}"


async def _outcome(asked: Any) -> Any:
    """Await what the library declares as an answer or its future."""
    return await asked
