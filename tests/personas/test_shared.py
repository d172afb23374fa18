"""Copies that replicas share, on a real Redis."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from personas.errors import PersonaNotFound, PersonaUnavailable
from personas.found import Found
from personas.lookup import PersonaLookup
from personas.model import Persona
from personas.phone import read_dialed
from personas.sources.last_known_good import LastKnownGood
from personas.sources.shared import HOT_S, REST_S, SharedPersonas
from tests.fakes_personas import HOUSE, FakeClock, FakePersonaApi, persona, until
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

DIALED = read_dialed("+13125550100", "US")
OTHER = read_dialed("+13125550101", "US")
NUMBER = DIALED.number
assert NUMBER is not None


class Replicas:
    """Routers' lookups over one Redis and one API; each with a memory, disk and clock of its own.

    ``wall`` is the time of day that they share. The machine is too, so that what is not about time
    gives Redis more of it.
    """

    def __init__(self, redis: RedisServer, tmp_path: Path, hot_s: float = 1.0) -> None:
        self.hot_s = hot_s
        self.redis = redis
        self.folder = tmp_path
        self.api = FakePersonaApi()
        self.wall = FakeClock(time.time())
        self.clocks: list[FakeClock] = []
        self.lookups: list[PersonaLookup] = []

    async def one_more(self, **options: Any) -> PersonaLookup:
        clock = FakeClock()
        shared = SharedPersonas(self.redis.url, namespace="test", wall=self.wall, hot_s=self.hot_s)
        lookup = PersonaLookup(
            house=HOUSE,
            source=self.api,
            shared=shared,
            clock=clock,
            last_known_good=LastKnownGood(
                self.folder / f"replica-{len(self.lookups)}", wall=self.wall
            ),
            **options,
        )
        lookup.start()
        self.clocks.append(clock)
        self.lookups.append(lookup)
        await until(lambda: shared.well)
        return lookup

    async def two(self) -> tuple[PersonaLookup, PersonaLookup]:
        return await self.one_more(), await self.one_more()

    def pass_by(self, seconds: float) -> None:
        self.wall.advance(seconds)
        for clock in self.clocks:
            clock.advance(seconds)

    async def settled(self) -> None:
        """Wait until nothing is being written."""
        await until(lambda: not any(lookup._writes for lookup in self.lookups))

    def files(self, replica: int) -> int:
        return len(list((self.folder / f"replica-{replica}").glob("*.json")))


@pytest.fixture
async def replicas(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Replicas]:
    replicas = Replicas(redis, tmp_path)
    yield replicas
    for lookup in replicas.lookups:
        await lookup.aclose()


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Any]:
    async with Redis.from_url(redis.url, protocol=2) as client:
        yield client


def trail(found: Found) -> list[tuple[str, str]]:
    return [(step.source, step.outcome) for step in found.steps]


async def test_what_one_replica_asked_for_another_has_too(replicas: Replicas) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await replicas.settled()
    replicas.pass_by(12)

    found = await two.find(DIALED)

    assert found.persona == persona("+13125550100", revision=0)
    assert (found.origin.source, round(found.origin.age_s)) == ("api", 12)
    assert found.origin.because == "the persona API answered another router 12 s ago"
    assert trail(found) == [("shared", "fresh")]
    assert trail(await two.find(DIALED)) == [("cache", "fresh")]
    assert len(replicas.api.asked) == 1


async def test_an_older_copy_answers_at_once_and_is_renewed(replicas: Replicas) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await replicas.settled()
    replicas.pass_by(300)
    replicas.api.held = asyncio.Event()

    found = await two.find(DIALED)

    assert (found.origin.source, round(found.origin.age_s)) == ("stale", 300)
    assert trail(found) == [("cache", "revalidating")]
    await until(lambda: len(replicas.api.asked) == 2)
    replicas.api.held.set()


async def test_a_new_replica_knows_what_the_others_knew_when_the_api_is_away(
    replicas: Replicas,
) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await replicas.settled()
    replicas.pass_by(7300)
    replicas.api.failing = PersonaUnavailable(reason="connect")

    found = await two.find(DIALED)

    assert found.persona == persona("+13125550100", revision=0)
    assert found.origin.because == (
        "the persona API could not be reached (connect); last copy of 2 h ago"
    )


async def test_a_shared_copy_is_no_older_than_the_document_allows(replicas: Replicas) -> None:
    replicas.api.fields = {"max_stale_s": 20}
    one, two = await replicas.two()
    await one.find(DIALED)
    await replicas.settled()
    replicas.pass_by(20)

    assert trail(await two.find(DIALED)) == [("api", "ok")]


async def test_of_many_callers_on_several_replicas_one_asks_the_api(replicas: Replicas) -> None:
    lookups = [await replicas.one_more() for _ in range(3)]
    replicas.api.held = asyncio.Event()
    calls = [asyncio.create_task(lookup.find(DIALED)) for lookup in lookups for _ in range(20)]
    await until(lambda: len(replicas.api.asked) == 1)
    await asyncio.wait(calls, timeout=0.2)

    replicas.api.held.set()
    found = await asyncio.gather(*calls)

    assert {one.persona for one in found} == {persona("+13125550100", revision=0)}
    assert len(replicas.api.asked) == 1


async def test_a_replica_that_asks_and_dies_holds_the_others_up_for_a_second_at_most(
    replicas: Replicas, client: Any
) -> None:
    lookup = await replicas.one_more()
    shared = lookup._shared
    assert shared is not None
    await shared.turn(DIALED, lambda _copy: False)  # and it says nothing any more
    started = time.perf_counter()

    found = await lookup.find(DIALED)

    assert 0.8 < time.perf_counter() - started < 1.5
    assert trail(found) == [("api", "ok")]
    assert await client.keys("*asking*") == []


@pytest.mark.parametrize("failure", [PersonaUnavailable(reason="connect"), PersonaNotFound()])
async def test_a_replica_that_asks_in_vain_lets_the_next_one_ask(
    replicas: Replicas, failure: Exception
) -> None:
    one, two = await replicas.two()
    replicas.api.failing = failure
    started = time.perf_counter()

    found = [await lookup.find(DIALED) for lookup in (one, two)]

    assert time.perf_counter() - started < 0.8
    assert len(replicas.api.asked) == 2
    assert {one.origin.source for one in found} == {"house"}


async def test_no_such_number_drops_the_shared_copy(replicas: Replicas, client: Any) -> None:
    one = await replicas.one_more()
    await one.find(DIALED)
    await replicas.settled()
    replicas.pass_by(700)
    replicas.api.failing = PersonaNotFound()

    await one.find(DIALED)
    await replicas.settled()

    assert [key for key in await client.keys("*") if b"purges" not in key] == []


async def test_no_key_shows_a_number(replicas: Replicas, client: Any) -> None:
    one = await replicas.one_more()
    await one.find(DIALED)
    await replicas.settled()

    keys = await client.keys("*")

    assert len(keys) == 1
    assert b"3125550100" not in keys[0]
    assert 0 < await client.ttl(keys[0]) <= 86_400


# ---- what is not believed -------------------------------------------------------------------


def changed(**fields: Any) -> Any:
    return lambda copy: json.dumps(copy | fields)


def speaks_for(number: str) -> Any:
    def poison(copy: dict[str, Any]) -> str:
        other = persona(number)
        return json.dumps(copy | {"raw": other.raw, "version": other.version})

    return poison


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(lambda _copy: "", id="nothing"),
        pytest.param(lambda _copy: b"\xff\x00", id="bytes"),
        pytest.param(lambda _copy: "[" * 100_000, id="deep"),
        pytest.param(lambda _copy: " " * (1024 * 1024 + 1), id="huge"),
        pytest.param(lambda _copy: json.dumps({"personality": "x"}), id="a bare persona"),
        pytest.param(changed(number="+13125550101"), id="another number's copy"),
        pytest.param(changed(region="DE"), id="another region"),
        pytest.param(changed(digits="1"), id="another notation"),
        pytest.param(changed(asked_as="+13125550101"), id="asked for another number"),
        pytest.param(speaks_for("+13125550101"), id="another number's persona"),
        pytest.param(changed(raw='{"personality":"x"}'), id="another document"),
        pytest.param(changed(raw="{}"), id="no persona"),
        pytest.param(changed(version="sha256:0"), id="wrong hash"),
        pytest.param(changed(asked_at="now"), id="no time"),
        pytest.param(changed(asked_at=time.time() + 1e6), id="from the future"),
        pytest.param(changed(generation=7), id="of a generation to come"),
        pytest.param(changed(more=1), id="more than we know"),
        pytest.param(changed(format=2), id="another format"),
    ],
)
async def test_a_poisoned_copy_is_ignored(replicas: Replicas, client: Any, poison: Any) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await replicas.settled()
    [key] = await client.keys("*")
    [[field, text]] = (await client.hgetall(key)).items()
    await client.hset(key, field, poison(json.loads(text)))

    with capture_logs() as logs:
        found = await two.find(DIALED)

    assert trail(found) == [("api", "ok")]
    assert found.persona == persona("+13125550100", revision=0)
    assert "312555" not in repr(logs)


@pytest.mark.parametrize("suffix", ["", "generation", "floor"])
async def test_a_key_that_holds_something_else_is_ignored(
    replicas: Replicas, client: Any, suffix: str
) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await replicas.settled()
    [key] = await client.keys("*")
    await client.set(key.rpartition(b":")[0] + b":" + suffix.encode() if suffix else key, "rubbish")

    with capture_logs():
        found = await two.find(DIALED)

    assert found.persona == persona("+13125550100", revision=0)


async def test_routers_of_another_api_share_nothing_with_ours(
    replicas: Replicas, redis: RedisServer
) -> None:
    one = await replicas.one_more()
    await one.find(DIALED)
    await replicas.settled()
    stranger = SharedPersonas(redis.url, namespace="another")
    listening = asyncio.create_task(stranger.keep(lambda _purge: None))
    await until(lambda: stranger.well)

    assert await stranger.find(DIALED) is None
    listening.cancel()
    await asyncio.wait({listening})
    await stranger.aclose()


# ---- Redis away -----------------------------------------------------------------------------


async def took_s(lookup: PersonaLookup, dialed: Any = DIALED) -> tuple[Found, float]:
    started = time.perf_counter()
    found = await lookup.find(dialed)
    return found, time.perf_counter() - started


async def test_a_redis_that_hangs_costs_50_ms_once_and_then_nothing(replicas: Replicas) -> None:
    replicas.hot_s = HOT_S
    one = await replicas.one_more()
    await one.find(OTHER)
    await replicas.settled()
    replicas.redis.freeze()

    with capture_logs():
        first, first_s = await took_s(one)
        replicas.pass_by(700)
        second, second_s = await took_s(one)

    assert trail(first) == trail(second) == [("api", "ok")]
    assert HOT_S < first_s < 0.05 + 0.05  # the machine is shared
    assert second_s < HOT_S
    assert one.shared_well is False
    replicas.redis.thaw()


async def test_a_redis_that_is_gone_costs_nothing_and_is_used_again_when_it_is_back(
    replicas: Replicas,
) -> None:
    one, two = await replicas.two()
    await one.find(OTHER)
    await replicas.settled()

    with capture_logs() as logs:
        replicas.redis.stop()
        found, lasted_s = await took_s(one)
        assert trail(found) == [("api", "ok")]
        assert lasted_s < 0.1
        await until(lambda: not one.shared_well and not two.shared_well)
        replicas.redis.start()
        for lookup in replicas.lookups:
            assert lookup._shared is not None
            lookup._shared._rests_until = 0.0  # five seconds later
        await until(lambda: bool(one.shared_well and two.shared_well))

    assert {entry["event"] for entry in logs} <= {
        "shared_personas.lost",
        "shared_personas.rested",
        "shared_personas.reached",
    }
    replicas.pass_by(700)
    await one.find(DIALED)
    await replicas.settled()
    assert trail(await two.find(DIALED)) == [("shared", "fresh")]


async def test_a_redis_that_never_was_there_is_told_once() -> None:
    shared = SharedPersonas("redis://127.0.0.1:9/0", namespace="test")  # the discard port

    with capture_logs() as logs:
        listening = asyncio.create_task(shared.keep(lambda _purge: None))
        await until(lambda: bool(logs))
        await asyncio.wait({listening}, timeout=0.7)
        assert await shared.find(DIALED) is None

    assert [entry["event"] for entry in logs] == ["shared_personas.lost"]
    listening.cancel()
    await asyncio.wait({listening})
    await shared.aclose()


async def test_after_a_question_without_an_answer_redis_is_left_alone_for_a_while(
    redis: RedisServer,
) -> None:
    clock = FakeClock()
    shared = SharedPersonas(redis.url, namespace="test", clock=clock)
    listening = asyncio.create_task(shared.keep(lambda _purge: None))
    await until(lambda: shared.well)
    redis.freeze()

    with capture_logs():
        assert await shared.find(DIALED) is None
        assert not shared.well
        redis.thaw()
        clock.advance(REST_S - 0.1)
        rests = shared.well
        clock.advance(0.1)

    assert (rests, shared.well) == (False, True)
    listening.cancel()
    await asyncio.wait({listening})
    await shared.aclose()


# ---- purge ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [NUMBER, None])
async def test_a_purge_is_seen_by_every_replica_in_under_a_second(
    replicas: Replicas, number: Any
) -> None:
    one, two = await replicas.two()
    for lookup in (one, two):
        await lookup.find(DIALED)
        await lookup.find(OTHER)
    await replicas.settled()
    replicas.api.revision = 1
    started = time.perf_counter()

    told = await one.purge(number)
    seen = await two.find(DIALED)
    while seen.persona != persona("+13125550100", revision=1):
        await asyncio.sleep(0.005)
        seen = await two.find(DIALED)

    assert time.perf_counter() - started < 1.0
    assert told is True
    assert (await one.find(DIALED)).persona == persona("+13125550100", revision=1)
    kept = (await two.find(OTHER)).persona == persona("+13125550101", revision=0)
    assert kept == (number is not None)


async def test_a_purge_removes_the_files_of_every_replica(replicas: Replicas) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await two.find(OTHER)
    await replicas.settled()
    assert (replicas.files(0), replicas.files(1)) == (1, 1)

    await one.purge(None)

    await until(lambda: (replicas.files(0), replicas.files(1)) == (0, 0))


async def test_an_answer_asked_for_before_a_purge_is_neither_used_nor_shared(
    replicas: Replicas,
) -> None:
    one, two = await replicas.two()
    replicas.api.held = early = asyncio.Event()
    ringing = asyncio.create_task(one.find(DIALED))
    await until(lambda: len(replicas.api.asked) == 1)
    replicas.api.revision, replicas.api.held = 1, None

    await two.purge(NUMBER)
    after = await two.find(DIALED)
    early.set()

    assert after.persona == persona("+13125550100", revision=1)
    assert (await ringing).persona == persona("+13125550100", revision=1)
    assert (await one.find(DIALED)).persona == persona("+13125550100", revision=1)


async def test_a_copy_asked_for_before_a_purge_is_not_put_back_after_it(
    replicas: Replicas, client: Any
) -> None:
    one, two = await replicas.two()
    shared = one._shared
    assert shared is not None
    turn = await shared.turn(DIALED, lambda _copy: False)
    assert turn is not None

    await two.purge(NUMBER)
    await shared.put(turn, await replicas.api.fetch(DIALED))

    assert await client.keys("*asking*") == []
    assert await shared.find(DIALED) is None


async def test_a_replica_that_was_cut_off_hears_of_the_purge_later(
    replicas: Replicas, redis: RedisServer
) -> None:
    one = await replicas.one_more()
    await one.find(DIALED)
    await replicas.settled()
    await one.aclose()
    other = await replicas.one_more()
    await other.purge(NUMBER)
    assert replicas.files(0) == 1

    replicas.lookups[0] = back = PersonaLookup(
        house=HOUSE,
        source=replicas.api,
        shared=SharedPersonas(redis.url, namespace="test", wall=replicas.wall),
        last_known_good=LastKnownGood(replicas.folder / "replica-0", wall=replicas.wall),
    )
    back.start()

    await until(lambda: replicas.files(0) == 0)


async def test_a_purge_that_redis_was_not_told_is_made_up_for(replicas: Replicas) -> None:
    one, two = await replicas.two()
    await one.find(DIALED)
    await two.find(DIALED)
    await replicas.settled()
    replicas.api.revision = 1
    replicas.redis.freeze()

    with capture_logs():
        assert await one.purge(NUMBER) is False
        assert (await one.find(DIALED)).persona == persona("+13125550100", revision=1)
        replicas.redis.thaw()
        await until(lambda: two._cache.purges > 0, within_s=10)

    assert (await two.find(DIALED)).persona == persona("+13125550100", revision=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"number": "+1312555010"},
        {"number": "x", "by": "y"},
        {"by": "y"},
        {"number": b"\xff"},
        {"number": "+1 312 555 0100"},
    ],
)
async def test_an_entry_that_is_no_purge_does_nothing(
    replicas: Replicas, client: Any, fields: dict[str, Any]
) -> None:
    one = await replicas.one_more()
    await one.purge(OTHER.number)
    await one.find(DIALED)
    [stream] = await client.keys("*purges")

    entry = await client.xadd(stream, fields)
    shared = one._shared
    assert shared is not None
    await until(lambda: shared._heard == entry)

    assert trail(await one.find(DIALED)) == [("cache", "fresh")]


async def test_a_persona_of_any_text_survives_the_way_there_and_back(
    replicas: Replicas,
) -> None:
    replicas.api.fields = {"welcome_message": 'Grüß Gott 👋 \\ " \u2028', "x": [1.5, None, {}]}
    one, two = await replicas.two()
    first = await one.find(DIALED)
    await replicas.settled()

    found = await two.find(DIALED)

    assert isinstance(found.persona, Persona)
    assert found.persona.raw == first.persona.raw
