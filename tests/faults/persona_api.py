"""The persona API is down, slow, half open, talks garbage, or answers with another's persona."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import httpx
from structlog.testing import capture_logs

from personas.asking import Key
from personas.cache import Cache, Landed
from personas.found import Found
from personas.lookup import PersonaLookup
from personas.phone import DialedNumber, read_dialed
from personas.sources.http import NUMBER_FIELDS, Fetched, HttpPersonaSource
from personas.sources.last_known_good import LastKnownGood
from tests.bench import load
from tests.bench.edge import persona
from tests.fakes_personas import HOUSE
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size
from tests.faults.virtual import virtually
from tests.servers import serving

Mode = Literal["well", "down", "drips", "half_open", "garbage", "swapped", "failing", "slow"]

BUDGET_S: Final = 2.0
LOOKUPS: dict[Size, int] = {"quick": 2_000, "full": 100_000}
#: How long each lasts, in virtual seconds.
COURSE: Final[tuple[tuple[Mode, float], ...]] = (
    ("well", 60),
    ("down", 600),
    ("well", 60),
    ("drips", 120),
    ("slow", 60),
    ("half_open", 120),
    ("well", 30),
    ("garbage", 120),
    ("failing", 60),
    ("well", 30),
    ("swapped", 120),
    ("well", 60),
)
NUMBERS: Final = 300
WAITERS: Final = 500
SLACK_S: Final = 0.5  # where time is real: the machine may be busy
REAL_AT_ONCE: Final = 40
_GARBAGE: Final = (
    b"<html>It works!</html>",
    b"",
    b"[]",
    b"{",
    b'"x"',
    b"\xff\xfe\0",
    b'{"personality": ""}',
    b'{"mobile": "+13125550100"}',
    b'{"data": {"data": {"data": null}}}',
    b"[" * 100_000,
    b"x" * 300_000,
)


class _Drip(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.5)
            yield b" "


class FakePersonaHttp(httpx.AsyncBaseTransport):
    """The persona API under the HTTP client. It knows every number; ``mode`` is what is wrong."""

    def __init__(self) -> None:
        self.mode: Mode = "well"
        self.takes_s = 0.05
        self.asked: Counter[str] = Counter()  # by digits
        self._chance = random.Random(7)  # noqa: S311  # the same run each time

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        digits = request.url.path.rpartition("/")[2].removeprefix("+")
        self.asked[digits] += 1
        await asyncio.sleep(self.takes_s)
        if self.mode == "down":
            raise httpx.ConnectError("refused", request=request)
        if self.mode == "half_open":
            await asyncio.Event().wait()
        if self.mode == "failing":
            return httpx.Response(self._chance.choice([500, 502, 503, 429]), request=request)
        if self.mode == "drips":
            return httpx.Response(200, stream=_Drip(), request=request)
        if self.mode == "slow":
            await asyncio.sleep(self._chance.uniform(0.5, 6.0))
        stream = httpx.ByteStream(self._answer(digits))
        return httpx.Response(200, stream=stream, request=request)

    def _answer(self, digits: str) -> bytes:
        if self.mode == "garbage":
            return self._chance.choice(_GARBAGE)
        if self.mode == "swapped":
            digits = _digits(self._chance.randrange(NUMBERS))
        text = persona(digits)
        return self._chance.choice([text, f'{{"data": {text}}}', f'{{"result": {text}}}']).encode()


def _digits(index: int) -> str:
    return load.number(index).removeprefix("+")


class EachItsOwn(Cache[Key, Fetched]):
    """A cache in which everyone who waits asks for themselves."""

    async def fetch(
        self,
        key: Key,
        get: Callable[[Fetched | None], Awaitable[Fetched]],
        *,
        patience_s: float,
    ) -> Landed[Fetched] | None:
        return await self._get(key, get)


@dataclass(slots=True)
class Tally:
    """What lookups gave."""

    count: int = 0
    wrong: int = 0
    longest_s: float = 0.0
    sources: Counter[str] = field(default_factory=Counter)

    def add(self, dialed: DialedNumber, found: Found, waited_s: float) -> None:
        """Judge one: the persona of that number, or the house persona that says so."""
        self.count += 1
        self.sources[found.origin.source] += 1
        self.longest_s = max(self.longest_s, waited_s)
        named = str(found.persona.document.get("mobile", ""))
        house = found.origin.source == "house" and found.persona == HOUSE
        assert dialed.number is not None
        self.wrong += not house and named.removeprefix("+") != dialed.number.digits


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What is built otherwise in a known-bad lookup."""

    number_fields: Sequence[str] = NUMBER_FIELDS
    shares_fetches: bool = True


AS_IT_IS: Final = Variant()


class Callers:
    """Callers of an API that has its troubles, in virtual time."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        self._folder = folder
        self._variant = variant
        self._loop = asyncio.get_running_loop()
        self._chance = random.Random(3)  # noqa: S311  # the same run each time
        self.api = FakePersonaHttp()
        self.tally = Tally()
        self.lookup = self._open()

    def _open(self) -> PersonaLookup:
        clock = self._loop.time
        return PersonaLookup(
            house=HOUSE,
            source=HttpPersonaSource(
                "https://personas.example/mobile",
                deadline_s=2 * BUDGET_S,
                number_fields=self._variant.number_fields,
                transport=self.api,
            ),
            last_known_good=LastKnownGood(self._folder, wall=lambda: 1_800_000_000.0 + clock()),
            budget_s=BUDGET_S,
            clock=clock,
            cache=None if self._variant.shares_fetches else EachItsOwn(clock=clock),
        )

    async def restart(self) -> None:
        """Go on as a new process, with what is on disk."""
        await self.lookup.aclose()
        self.lookup = self._open()

    async def one(self, dialed: DialedNumber) -> None:
        """Look one up."""
        began = self._loop.time()
        found = await self.lookup.find(dialed)
        self.tally.add(dialed, found, self._loop.time() - began)

    async def course(self, count: int) -> None:
        """Make *count* lookups, evenly over all that goes wrong; a restart in each trouble."""
        whole_s = sum(seconds for _, seconds in COURSE)
        for mode, seconds in COURSE:
            self.api.mode = mode
            for half in range(2):
                here = round(count * seconds / whole_s / 2)
                calls = set()
                for _ in range(here):
                    calls.add(asyncio.create_task(self.one(self._somebody())))
                    await asyncio.sleep(seconds / 2 / here)
                await asyncio.gather(*calls)
                if half == 0:
                    await self.restart()

    def _somebody(self) -> DialedNumber:
        """Give a number that is called often, one that is called seldom, or a new one."""
        often = self._chance.random() < 0.5
        index = self._chance.randrange(20) if often else self._chance.randrange(NUMBERS)
        if self._chance.random() < 0.02:
            index = self._chance.randrange(NUMBERS, 1_000_000)
        return read_dialed(load.number(index), "US")

    async def at_once(self) -> int:
        """Have many wait for one key at different ages of its copy; most requests for any age."""
        self.api.mode, self.api.takes_s, most = "well", 0.3, 0
        dialed = read_dialed(load.number(2_000_000), "US")
        for later_s in (0.0, 120.0, 700.0, 90_000.0):  # none, renewed, expired, forgotten
            await asyncio.sleep(later_s)
            self.api.asked.clear()
            await asyncio.gather(*(self.one(dialed) for _ in range(WAITERS)))
            await asyncio.sleep(1.0)
            most = max(most, self.api.asked.total())
        return most


async def run(ground: Ground, size: Size, variant: Variant = AS_IT_IS) -> Seen:
    """Look numbers up through all that goes wrong."""

    async def work() -> tuple[Tally, int]:
        callers = Callers(ground.folder / "state", variant)
        await callers.course(LOOKUPS[size])
        most = await callers.at_once()
        await callers.lookup.aclose()
        return callers.tally, most

    with capture_logs() as logs:
        tally, most = await virtually(work)
        real_s = await _over_real_connections() if variant is AS_IT_IS else 0.0
    sources = ", ".join(f"{count:,} {source}" for source, count in sorted(tally.sources.items()))
    defects = sum(bool(entry.get("exc_info")) for entry in logs)
    tested = {"api", "stale", "last_known_good", "house"} <= set(tally.sources)
    real_in_time = ground.size == "quick" or real_s <= BUDGET_S + SLACK_S  # else no test's matter
    in_time = tally.longest_s <= BUDGET_S + 1e-6 and real_in_time
    return Seen(
        holds=not tally.wrong and in_time and most <= 1 and not defects and tested,
        figures=(
            f"{tally.count:,} lookups in {sum(s for _, s in COURSE) / 60:.0f} virtual minutes "
            f"({sources}): {tally.wrong:,} wrong personas, longest wait {tally.longest_s:.2f} s "
            f"({real_s:.2f} s over real connections); {most} requests for one key with {WAITERS} "
            f"waiters; {defects} unhandled exceptions"
        ),
    )


# ---- the same over real connections, where a client's own timeouts could be fooled ----


async def _drips(writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
    )
    while not writer.is_closing():
        writer.write(b" ")
        await asyncio.sleep(0.2)


async def _drips_its_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-Slow: x\r\n")
        await asyncio.sleep(0.2)


async def _never_answers(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _is_no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 10)


async def _cuts_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{")


async def _over_real_connections() -> float:
    """Return the longest that a caller waited for servers that do all this on a socket."""
    troubles = (_drips, _drips_its_head, _never_answers, _is_no_http, _cuts_off)
    return max(await asyncio.gather(*(_longest_wait(trouble) for trouble in troubles)))


async def _longest_wait(trouble: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> float:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await trouble(writer)
        finally:
            writer.transport.abort()  # when it is cancelled too

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(writer)))

    async def wait(lookup: PersonaLookup, index: int) -> float:
        dialed, began = read_dialed(load.number(index), "US"), time.monotonic()
        found = await lookup.find(dialed)
        assert found.origin.source == "house", json.dumps(found.origin.because)
        return time.monotonic() - began

    async with serving(accept) as port:
        source = HttpPersonaSource(f"http://127.0.0.1:{port}/mobile", deadline_s=2 * BUDGET_S)
        lookup = PersonaLookup(house=HOUSE, source=source, budget_s=BUDGET_S)
        waits = await asyncio.gather(*(wait(lookup, index) for index in range(REAL_AT_ONCE)))
        await lookup.aclose()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)  # in which the loop closes what was aborted
    return max(waits)


async def itself(ground: Ground) -> Seen:
    """Run with the lookup as it is."""
    return await run(ground, ground.size)


async def believes(ground: Ground) -> Seen:
    """Run with a lookup that takes every answer for the right one."""
    return await run(ground, "quick", Variant(number_fields=()))


async def each_its_own(ground: Ground) -> Seen:
    """Run with a lookup in which each caller asks."""
    return await run(ground, "quick", Variant(shares_fetches=False))


SCENARIOS = (
    Scenario(
        name="persona_api",
        fault="persona API down for 10 min, dripping, slow, half open, garbage, failing, swapped "
        "answers",
        must="0 wrong personas; a caller waits at most 2 s; one request for a key at most",
        run=itself,
        controls=(
            Control(name="no_number_guard", bad="believes any answer", run=believes),
            Control(name="no_single_flight", bad="has every caller ask", run=each_its_own),
        ),
    ),
)
