"""A campaign that is run by routers which die all the time, over a database that goes away."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
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
MOST_KILLS: Final[dict[Size, int]] = {"quick": 2, "full": 1_000}
PER_S: Final[dict[Size, float]] = {"quick": 5.0, "full": 2.5}
PAUSE_S: Final[dict[Size, float]] = {"quick": 0.4, "full": 1.0}
CONCURRENCY: Final = 6
AMBIGUOUS: Final = 0.05
LONGEST_S: Final[dict[Size, float]] = {"quick": 100.0, "full": 1_500.0}
CUT_EVERY_S: Final = 4.0
AREAS: Final = (202, 212, 213, 214, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713)


@dataclass(slots=True)
class Broken:
    """What was done to the campaign."""

    kills: int = 0
    cuts: int = 0


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
        broken = await break_(ground, store, replicas, url if database == "PostgreSQL" else None)
        return await judged(store, exchange, broken, f"{LEADS[size]:,} leads over {database}")


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
            "calls_per_second": PER_S[size],
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


async def break_(ground: Ground, store: Store, replicas: Replicas, url: str | None) -> Broken:
    """Kill routers, and all connections to the PostgreSQL at *url*, until all leads are done."""
    broken, over = Broken(), asyncio.Event()

    async def kill() -> None:
        chance, pause_s = random.Random(4), PAUSE_S[ground.size]  # noqa: S311
        while not over.is_set() and broken.kills < MOST_KILLS[ground.size]:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * pause_s)
            router = chance.choice(replicas.routers)
            router.kill()
            broken.kills += 1
            await started(router)

    async def cut() -> None:
        chance = random.Random(5)  # noqa: S311  # the same run each time
        while url is not None:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * CUT_EVERY_S)
            await asyncio.to_thread(terminate, url)
            broken.cuts += 1

    tasks = [asyncio.create_task(kill()), asyncio.create_task(cut())]
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
            ground.say(f"{left} leads to go, {broken.kills} kills, {broken.cuts} cuts")
            if not left:
                break
    finally:
        over.set()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return broken


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


async def judged(store: Store, exchange: FakeExchange, broken: Broken, what: str) -> Seen:
    """Say what rang twice, and which leads have no row that says what became of them."""
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
        and exchange.most_at_once <= CONCURRENCY,
        figures=(
            f"{what}, 2 routers ({len(shares)} lives that called), {broken.kills} `kill -9`, "
            f"{broken.cuts} cuts of the database, {exchange.lost_answers} answers lost: "
            f"{exchange.rung.total():,} phones rang, {doubled} twice; {lost} leads lost, "
            f"{wrong} said to be called that were not; at most {exchange.most_at_once} of "
            f"{CONCURRENCY} at once; {said}"
        ),
    )


async def by_queue(ground: Ground) -> Seen:
    """Have a job queue hand the leads out, which is what a queue promises: at least once."""
    from tests.faults.queue_dialer import QueueDialer  # noqa: PLC0415  # it needs a library more

    count = 8 if ground.size == "quick" else 400
    async with FakeExchange(lambda: [1], ambiguous=0.0, seed=7) as exchange:
        dialer = QueueDialer(ground.folder, exchange.url, numbers(count))
        async with dialer:
            kills = await dialer.kill_until_done(every_s=1.0, most=3 if count == 8 else 1_000)
        await exchange.aclose()
    doubled = sum(rang > 1 for rang in exchange.rung.values())
    lost = sum(not exchange.rung[one] for one in numbers(count))
    return Seen(
        holds=not doubled and not lost,
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
