"""A campaign that is run by routers which die all the time, over a database that goes away."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import psycopg
import sqlalchemy as sa

from router.campaigns.gate import GateVerdict
from router.campaigns.model import read_campaign
from router.db import Store
from router.demo.errors import ProcessFailed
from router.demo.services import RouterProcess
from router.errors import StoreUnavailable
from router.records.attempts import Attempts, call_attempt
from router.records.campaigns import Campaigns
from router.records.leads import Leads
from router.records.runs import Capacity, Runs, run_waits
from tests import postgres
from tests.faults.exchange import FakeExchange
from tests.faults.replicas import Replicas
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size

LEADS: Final[dict[Size, int]] = {"quick": 12, "full": 1_000}
LEAST_KILLS: Final[dict[Size, int]] = {"quick": 1, "full": 100}
MOST_KILLS: Final[dict[Size, tuple[int, ...]]] = {"quick": (1, 0), "full": (60, 60)}
#: A router lives until so many phones have rung, by whichever router: what is killed does not
#: depend on how fast the machine is.
LIFE: Final[dict[Size, tuple[int, int]]] = {"quick": (1, 4), "full": (2, 9)}
LONGEST_LIFE_S: Final = 15.0
PER_S: Final = 5.0
CONCURRENCY: Final = 10
AMBIGUOUS: Final = 0.05
LONGEST_S: Final[dict[Size, float]] = {"quick": 100.0, "full": 1_800.0}
CUT_EVERY_S: Final = 4.0
AREAS: Final = (202, 212, 213, 214, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713)


@dataclass(slots=True)
class Breaking:
    """Kills routers, and all connections to the PostgreSQL at *url*, until ``over``."""

    exchange: FakeExchange
    size: Size
    url: str | None  # None: there is no such server
    kills: int = 0
    cuts: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def kill(self, router: RouterProcess, most: int) -> None:
        """Kill *router* time after time, *most* times at most."""
        chance = random.Random(router.port)  # noqa: S311
        for _ in range(most):
            await self._life(chance)
            if self.over.is_set():
                return
            router.kill()
            self.kills += 1
            await started(router)

    async def cut(self) -> None:
        """Cut connections now and then."""
        chance = random.Random(5)  # noqa: S311  # the same run each time
        while self.url is not None:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * CUT_EVERY_S)
            await asyncio.to_thread(terminate, self.url)
            self.cuts += 1

    async def _life(self, chance: random.Random) -> None:
        rung = self.exchange.rung
        enough, until = rung.total() + chance.randint(*LIFE[self.size]), time.monotonic()
        until += LONGEST_LIFE_S
        while (  # noqa: ASYNC110  # a counter tells nobody
            rung.total() < enough and time.monotonic() < until and not self.over.is_set()
        ):
            await asyncio.sleep(0.02)
        await asyncio.sleep(chance.uniform(0.0, 0.5))  # or at any moment after


def numbers(count: int) -> Sequence[str]:
    """Make up so many numbers."""
    return [f"+1{AREAS[n // 100]}55501{n % 100:02}" for n in range(count)]


def table(count: int) -> bytes:
    """Write a list of leads; where they live it is noon."""
    offset = datetime.now(UTC).hour - 12
    zone = f"Etc/GMT{offset:+}"
    head = "phone,timezone,consent,consent_at,consent_source"
    rows = [f"{one},{zone},calls,2026-01-02,form" for one in numbers(count)]
    return "\n".join([head, *rows]).encode()


async def run(ground: Ground) -> Seen:
    """Run it, and compare what rang with what the rows say."""
    size, database = ground.size, "SQLite"
    async with AsyncExitStack() as stack:
        url = f"sqlite:///{ground.folder / 'calls.db'}"
        if size == "full" and postgres.binaries() is not None:
            url, database = stack.enter_context(postgres.running()).new_database(), "PostgreSQL"
        store = await stack.enter_async_context(opened(url))
        await begin(store, size)
        replicas: Replicas
        exchange = await stack.enter_async_context(
            FakeExchange(
                lambda: [one.port for one in replicas.routers], ambiguous=AMBIGUOUS, seed=7
            )
        )
        stack.push_async_callback(exchange.aclose)
        replicas = Replicas(
            ground.folder,
            exchange,
            count=2,
            settings={
                "MAX_CALLS": "100",
                "INBOUND_RESERVED_CALLS": "0",
                "PACE_BY_LOAD": "false",
                "LOG_LEVEL": "INFO",
            },
            database_url=url,
        )
        await stack.enter_async_context(replicas)
        broken = Breaking(exchange, size, url if database == "PostgreSQL" else None)
        await broken_until_done(ground, store, replicas, broken)
        return await judged(store, broken, database)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """Open a store."""
    store = await Store(url).open()
    yield store
    await store.aclose()


async def begin(store: Store, size: Size) -> None:
    """Put the list and the campaign into the database, and have it run."""
    campaign = read_campaign(
        {
            "name": "Proof",
            "agent_text": "You call [Prospect Name].",
            "calls_per_second": PER_S,
            "concurrency": CONCURRENCY,
            "trunk_id": "ST_one",
        }
    )
    await Campaigns(store, clock=time.time, files=list).add("default", campaign)
    leads = Leads(store, clock=time.time, region=None)
    found, read = await leads.add("default", "leads.csv", table(LEADS[size]))
    assert not read.bad, read.bad[:3]
    attempts = Attempts(
        store,
        clock=time.time,
        new_id=lambda: os.urandom(16).hex(),
        owner="test",
        judge=lambda _connection, _order, _at: GateVerdict(False, "gate_failed"),
    )
    runs = Runs(
        store,
        attempts,
        clock=time.time,
        new_id=lambda: os.urandom(16).hex(),
        capacity=Capacity(0, 0),
    )
    await runs.start("default", "proof", found, mode="all", position=0, by="test")


async def broken_until_done(ground: Ground, store: Store, replicas: Replicas, by: Breaking) -> None:
    """Break things until all leads are done, or it has taken too long."""
    tasks = [asyncio.create_task(by.cut())]
    killed = zip(replicas.routers, MOST_KILLS[ground.size], strict=True)
    tasks += [asyncio.create_task(by.kill(router, most)) for router, most in killed]
    ends_at = time.monotonic() + LONGEST_S[ground.size]
    try:
        while time.monotonic() < ends_at:
            await asyncio.sleep(1.0)
            for task in tasks:
                if task.done():
                    task.result()
            try:
                left = await unfinished(store)
            except StoreUnavailable:  # our own connection was broken too
                continue
            ground.say(f"{left} leads to go, {by.kills} kills, {by.cuts} cuts")
            if not left:
                break
    finally:
        by.over.set()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def terminate(url: str) -> None:
    """Have the server break every other connection to this database."""
    ask = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    others = f"{ask} AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(others, [url.rpartition("/")[2]])


async def started(router: RouterProcess) -> None:
    """Start it, again where it ended because the database was away, as a supervisor does."""
    while True:
        try:
            await router.start()
        except ProcessFailed:
            continue
        return


async def unfinished(store: Store) -> int:
    """Count the leads whose call is not over, or was not made."""

    def count(connection: sa.Connection) -> int:
        ended = sa.select(sa.func.count(sa.distinct(call_attempt.c.position))).where(
            call_attempt.c.ended_at.is_not(None), call_attempt.c.because != "it was never sent"
        )
        going = sa.select(sa.func.count()).where(call_attempt.c.ended_at.is_(None))
        waiting = sa.select(sa.func.count()).select_from(run_waits)
        leads = sa.select(sa.text("leads FROM campaign_runs"))
        done = connection.execute(ended).scalar_one()
        whole = int(connection.execute(leads).scalar_one())
        left = sum(int(connection.execute(one).scalar_one()) for one in (going, waiting))
        return max(whole - done, left)

    return await store.read(count)


async def judged(store: Store, broken: Breaking, database: str) -> Seen:
    """Say what rang twice, and which leads have no row that says what became of them."""
    exchange, size = broken.exchange, broken.size
    await store.read(lambda _connection: None)  # the pool finds that its connections are broken
    made = sa.select(call_attempt.c.number, call_attempt.c.state, call_attempt.c.owner)
    made = made.where(call_attempt.c.because != "it was never sent")
    rows = await store.read(lambda c: c.execute(made).all())
    states = Counter(row.state for row in rows)
    leads = await store.read(
        lambda c: c.scalars(sa.text("SELECT phone FROM leads ORDER BY position")).all()
    )
    known = Counter(row.number for row in rows)
    doubled = sum(count > 1 for count in exchange.rung.values())
    lost = sum(known[one] == 0 for one in leads)
    unrung = [row for row in rows if not exchange.rung[row.number]]
    wrong = sum(row.state not in {"uncertain", "failed", "canceled"} for row in unrung)
    shares = Counter(row.owner for row in rows)
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return Seen(
        holds=not doubled
        and not lost
        and not wrong
        and len(known) == len(leads)
        and broken.kills >= LEAST_KILLS[size]
        and exchange.most_at_once <= CONCURRENCY,
        figures=(
            f"{LEADS[size]:,} leads over {database}, 2 routers ({len(shares)} lives that called), "
            f"{broken.kills} `kill -9`, {broken.cuts} cuts of the database, "
            f"{exchange.lost_answers} answers lost: {exchange.rung.total():,} phones rang, "
            f"{doubled} twice; {lost} leads lost, "
            f"{wrong} said to be called that were not; at most {exchange.most_at_once} of "
            f"{CONCURRENCY} at once; {said}"
        ),
    )


async def by_queue(ground: Ground) -> Seen:
    """Have a job queue hand the leads out, which is what a queue promises: at least once."""
    from tests.faults.queue_dialer import QueueDialer  # noqa: PLC0415  # it needs a library more

    count = 8 if ground.size == "quick" else 100
    async with FakeExchange(lambda: [1], ambiguous=0.0, seed=7) as exchange:
        dialer = QueueDialer(ground.folder, exchange.url, numbers(count))
        async with dialer:
            kills = await dialer.kill_until_done(every_s=1.0, most=3 if count == 8 else 1_000)
        await exchange.aclose()
    doubled = sum(rang > 1 for rang in exchange.rung.values())
    lost = sum(not exchange.rung[one] for one in numbers(count))
    return Seen(
        holds=not doubled,
        figures=(
            f"{count} leads, 1 dialer, {kills} `kill -9`: {exchange.rung.total()} phones rang, "
            f"{doubled} twice or more; {lost} leads not called in time"
        ),
    )


SCENARIOS = (
    Scenario(
        name="dialing",
        fault=(
            "a campaign run by two routers, each killed time after time, the database's connections"
            " cut, 5 % of LiveKit's answers lost"
        ),
        must="nobody rung twice, no lead lost, no more at once than allowed",
        run=run,
        controls=(
            Control(
                name="by_queue",
                bad="a durable queue alone hands the leads out",
                run=partial(by_queue),
            ),
        ),
    ),
)
