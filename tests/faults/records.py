"""Agents, routers and the database die, and its disk is full, while calls are reported."""

import asyncio
import itertools
import random
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from personas.reports import AnyCallEvent, FactEvent, TurnEvent, read_event
from router.demo.processes import Child
from router.records.call_tables import calls, events, facts
from tests import postgres
from tests.faults.reports import Processes
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size
from tests.faults.stores import Disk, small_disk

CALLS: dict[Size, int] = {"quick": 24, "full": 500}  # over each kind of database
PAUSE_S: dict[Size, tuple[float, float]] = {"quick": (0.1, 0.4), "full": (0.2, 1.0)}
AWAY_S: dict[Size, float] = {"quick": 0.5, "full": 3.0}
AT_ONCE: dict[Size, int] = {"quick": 8, "full": 24}
CLUSTER_DISK: Final = "256m"
GROWS_S: Final = 120.0
BACK_S: Final = 120.0
DRAINED_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Bed:
    """A database on a small disk; ``server`` is a process of its own, or the router is."""

    kind: str
    url: str
    disk: Disk
    server: postgres.Postgres | None

    @property
    def faults(self) -> tuple[str, ...]:
        """What can be done to it, in turn."""
        own = () if self.server is None else ("database",)
        return ("agent", *own, "router", "disk")


Over = Callable[[Path], AbstractContextManager[Bed]]


@contextmanager
def over_postgres(_folder: Path) -> Iterator[Bed]:
    with tempfile.TemporaryDirectory(prefix="faults-") as root:
        Path(root).chmod(0o755)  # the server runs as another user
        with (
            small_disk(Path(root, "disk"), CLUSTER_DISK) as disk,
            postgres.running(disk.folder) as server,
        ):
            yield Bed("PostgreSQL", server.new_database(), disk, server)


@contextmanager
def over_sqlite(folder: Path) -> Iterator[Bed]:
    with small_disk(folder) as disk:
        yield Bed("SQLite", f"sqlite:///{folder / 'calls.db'}", disk, None)


@dataclass(slots=True)
class Play:
    """The processes while one thing after the other is done to them."""

    processes: Processes
    bed: Bed
    size: Size
    router: Child
    writer: Child
    done: Counter[str] = field(default_factory=Counter)

    async def do(self, fault: str) -> None:
        """Break one thing, and bring it back."""
        if fault == "agent":
            self.writer.kill()
            self.writer = self.processes.writer()
        elif fault == "router":
            self.router.kill()
            self.router = await self.processes.router()
        elif fault == "database":
            assert self.bed.server is not None
            self.bed.server.kill()
            await asyncio.sleep(AWAY_S[self.size])
            await started(self.bed.server)
        else:
            with self.bed.disk.full(self.router.pid, self.router.log_path):
                await asyncio.sleep(AWAY_S[self.size])
            if self.bed.server is not None:
                await started(self.bed.server)
        self.done[fault] += 1


async def started(server: postgres.Postgres) -> None:
    """Start the server if it does not run; what it left may be in the way for a moment."""
    until = time.monotonic() + BACK_S
    while not await asyncio.to_thread(answering, server):
        try:
            await asyncio.to_thread(server.start)
        except subprocess.CalledProcessError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.5)


def answering(server: postgres.Postgres) -> bool:
    engine = engine_of(server.url())
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError:
        return False
    finally:
        engine.dispose()
    return True


def called(truth: list[str]) -> set[str]:
    """Return the ids of the calls of which something was acknowledged."""
    return {what.partition("/")[0] for what in truth}


async def over(
    ground: Ground,
    folder: Path,
    bed: Bed,
    prepare: Callable[[Bed], None] = lambda _bed: None,
) -> Seen:
    """Break things until there were enough calls; compare what was kept with the truth."""
    processes = Processes(folder, "write", database_url=bed.url, at_once=AT_ONCE[ground.size])
    chance = random.Random(12)  # noqa: S311  # the same pauses in every run
    router = await processes.router()
    prepare(bed)
    play = Play(processes, bed, ground.size, router, processes.writer())
    try:
        for fault in itertools.cycle(bed.faults):
            told = len(processes.truth())
            async with asyncio.timeout(GROWS_S):
                while len(processes.truth()) <= told:  # noqa: ASYNC110  # another process writes it
                    await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(*PAUSE_S[ground.size]))
            await play.do(fault)
            placed = len(called(processes.truth()))
            ground.say(f"{bed.kind}: {placed} calls, {sum(play.done.values())} faults")
            if placed >= CALLS[ground.size] and len(play.done) == len(bed.faults):
                break
        play.writer.kill()
        play.writer = processes.writer("drain")
        drained = play.writer
        await drained.wait_until(
            lambda: drained.exit_code == 0, timeout_s=DRAINED_S, what="an empty spool"
        )
    finally:
        play.writer.kill()
        play.router.kill()
    return judge(processes.truth(), await asyncio.to_thread(recorded, bed.url), play)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database holds."""

    told: list[tuple[str, AnyCallEvent]]  # with the call's id
    facts: Counter[str]  # rows by call
    calls: dict[str, Any]  # rows by id


def engine_of(url: str) -> sa.Engine:
    """Return what reads a database without the router's deadlines."""
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))


def recorded(url: str) -> Recorded:
    engine = engine_of(url)
    with engine.connect() as connection:
        bodies = connection.execute(sa.select(events)).all()
        noted = connection.execute(sa.select(facts.c.call_id)).scalars().all()
        rows = connection.execute(sa.select(calls)).all()
    engine.dispose()
    told = [(row.call_id, read_event(row.body)) for row in bodies]
    return Recorded(told, Counter(noted), {row.call_id: row for row in rows})


def judge(truth: list[str], kept: Recorded, play: Play) -> Seen:
    said: Counter[str] = Counter()
    turns: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    closed = set()
    for call_id, event in kept.told:
        if isinstance(event, FactEvent):
            said[event.information] += 1
            noted[call_id] += 1
        elif isinstance(event, TurnEvent):
            said[event.text] += 1
            turns[call_id] += 1
        elif event.kind == "closed":
            closed.add(call_id)
    lost = sum(what not in said for what in truth)
    doubled = sum(count - 1 for count in said.values())
    # What was written when its writer was killed, a moment before it could say so.
    more = len(set(said) - set(truth))
    wrong = sum(
        row.turns != turns[call_id]
        or row.facts != noted[call_id]
        or kept.facts[call_id] != noted[call_id]
        or (call_id in closed) != (row.ended_at is not None)
        for call_id, row in kept.calls.items()
    )
    without = len(called(truth) - set(kept.calls))
    holds = bool(truth) and not (lost or doubled or wrong or without)
    kills = ", ".join(f"{play.done[name]} of the {name}" for name in play.bed.faults[:-1])
    full = "disk full" if play.bed.disk.mounted else "files that may not grow"
    turned_away = play.router.log().count("report.not_stored")
    return Seen(
        holds and more <= AT_ONCE[play.size] * (play.done["agent"] + 1),
        f"{len(called(truth)):,} calls over {play.bed.kind}, kills: {kills}; {full} "
        f"{play.done['disk']} times; {turned_away:,} reports turned away meanwhile: {len(truth):,} "
        f"acknowledged, {lost:,} lost, {doubled:,} double, {without:,} calls without a record, "
        f"{wrong:,} records that say something else",
    )


async def run(ground: Ground) -> Seen:
    """Over PostgreSQL and SQLite; in quick size over one of them."""
    beds: Sequence[Over] = [over_sqlite]
    if postgres.binaries() is not None and mountable(ground.folder):
        beds = [over_postgres] if ground.size == "quick" else [over_postgres, over_sqlite]

    async def one(bed: Over) -> Seen:
        with bed(ground.folder / "disk") as made:
            return await over(ground, ground.folder / made.kind, made)

    seen = await asyncio.gather(*map(one, beds))
    return Seen(all(one.holds for one in seen), "; ".join(one.figures for one in seen))


def mountable(folder: Path) -> bool:
    with small_disk(folder / "try") as disk:
        return disk.mounted


def without_key(bed: Bed) -> None:
    """Take the unique key off the events, as if they were a plain log."""
    with sqlite3.connect(bed.url.removeprefix("sqlite:///")) as database:
        database.execute("ALTER TABLE call_events RENAME TO keyed")
        database.execute("CREATE TABLE call_events AS SELECT * FROM keyed")
        database.execute("DROP TABLE keyed")


async def keyless(ground: Ground) -> Seen:
    """Run with a table of events that takes the same event twice."""
    own = Ground(folder=ground.folder, size="quick", say=ground.say, livekit_server=None)
    with over_sqlite(own.folder / "disk") as bed:
        return await over(own, own.folder / "run", bed, without_key)


SCENARIOS = (
    Scenario(
        name="records_killed",
        fault="`kill -9` of agent, router and database, its disk full, while calls are reported",
        must="records equal the truth log: none lost, none double",
        run=run,
        controls=(
            Control(
                name="keyless",
                bad="events have no unique key: what is sent again is stored again",
                run=keyless,
            ),
        ),
    ),
)
