"""What the router keeps things in goes away, while calls come in, and comes back."""

import asyncio
import resource
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa

from router.db import Store
from router.records.claims import claims
from router.records.journal import journal
from tests import postgres, redis_server
from tests.bench import processes
from tests.faults.callers import Callers
from tests.faults.replicas import Replicas
from tests.faults.rooms import Dispatched, FakeRooms
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size
from tests.faults.webhooks import FakeWebhooks

PER_S: Final = 10.0
LOCKED_S: dict[Size, float] = {"quick": 3.0, "full": 30.0}
AWAY_S: dict[Size, float] = {"quick": 1.5, "full": 20.0}
CALM_S: dict[Size, float] = {"quick": 0.5, "full": 5.0}
RECOVERED_S: Final = 15.0  # the longest that the router may take to write down what it owes
DISK: Final = "16m"


@dataclass(frozen=True, slots=True)
class Disk:
    """A small disk of its own, where this machine lets us mount one."""

    folder: Path
    mounted: bool

    @contextmanager
    def full(self, pid: int, log_path: Path) -> Iterator[None]:
        """Leave no room on it; without one, let the files of the process *pid* grow no further."""
        if not self.mounted:
            database = (self.folder / name for name in ("calls.db", "calls.db-wal"))
            files = [*database, log_path]
            most = max(path.stat().st_size for path in files) + 8192
            limit = resource.RLIMIT_FSIZE
            before = resource.prlimit(pid, limit, (most, resource.RLIM_INFINITY))
            yield
            resource.prlimit(pid, limit, before)
            return
        filler = self.folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        yield
        filler.unlink()


@contextmanager
def small_disk(folder: Path, size: str = DISK) -> Iterator[Disk]:
    """Mount one if that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode
    except OSError:
        mounted = 1
    try:
        yield Disk(folder, mounted=mounted == 0)
    finally:
        if mounted == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)  # noqa: S607


@asynccontextmanager
async def locked(database_url: str) -> AsyncIterator[None]:
    """Hold the database as a backup or a careless migration does."""
    if database_url.startswith("postgresql"):
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE claims, journal, leases IN ACCESS EXCLUSIVE MODE")
            yield
            other.rollback()
        return
    connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


async def missing(store: Store, truth: Sequence[Dispatched], table: sa.Table) -> int:
    """Count the dispatches that *table* does not know of."""
    select = sa.select(table.c.call_id).where(
        table.c.state.not_in(("claimed", "released"))
        if table is claims
        else table.c.verdict == "dispatched"
    )
    known = set(await store.read(lambda connection: list(connection.scalars(select))))
    return sum(one.call_id not in known for one in truth)


async def recovered(
    database_url: str, truth: Sequence[Dispatched], within_s: float
) -> dict[str, int]:
    """Wait until the tables say what was done, or long enough; count what they lack."""
    store = await Store(database_url).open()
    ends_at = time.monotonic() + within_s
    while True:
        lacking = {
            "claims": await missing(store, truth, claims),
            "journal": await missing(store, truth, journal),
        }
        if not any(lacking.values()) or time.monotonic() > ends_at:
            break
        await asyncio.sleep(0.3)
    await store.aclose()
    return lacking


async def run(ground: Ground, *, database_url: str = "", policy: str = "") -> Seen:
    """Take one thing away after the other."""
    size = ground.size
    fills = not database_url and not policy
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(small_disk(ground.folder / "disk"))
        url = database_url or f"sqlite:///{disk.folder / 'calls.db'}"
        redis: redis_server.RedisServer | None = None
        if redis_server.present() and not policy:
            redis = stack.enter_context(redis_server.running(ground.folder))
        livekit = await stack.enter_async_context(FakeRooms())
        edge = await stack.enter_async_context(processes.edge(ground.folder))
        routers = await stack.enter_async_context(
            Replicas(
                ground.folder,
                livekit,
                count=1,
                persona_api_base=f"http://127.0.0.1:{edge}/mobile",
                settings={"REDIS_URL": redis.url if redis else ""},
                database_url=url,
                policy=policy,
            )
        )
        hooks = await stack.enter_async_context(FakeWebhooks(routers.pick))
        callers = Callers(livekit=livekit, hooks=hooks)

        async def take_away() -> None:
            await asyncio.sleep(CALM_S[size])
            if redis is not None:
                redis.stop()
                await asyncio.sleep(AWAY_S[size])
                redis.start()
            async with locked(url):
                await asyncio.sleep(LOCKED_S[size])
            await asyncio.sleep(CALM_S[size])
            if fills:
                router = routers.routers[0]
                with disk.full(router.child.pid, router.log_path):
                    await asyncio.sleep(AWAY_S[size])
            await asyncio.sleep(CALM_S[size])

        taking = asyncio.create_task(take_away())
        await callers.place_until(taking.done, per_s=PER_S)
        await taking
        lacking = await recovered(url, livekit.dispatched, 1.0 if policy else RECOVERED_S)
        spare = routers.logged("call.not_claimed")
    lost = sum(count for status, count in hooks.ended.items() if status != 200)
    doubles = sum(times - 1 for times in livekit.per_attempt().values())
    if policy:  # it keeps no journal
        lacking["journal"] = 0
    return Seen(
        holds=not (lost or callers.unanswered or doubles or any(lacking.values())),
        figures=_figures(
            len(callers.rooms), url, disk if fills else None, redis=redis is not None, spare=spare
        )
        + f": {lost} deliveries lost, {callers.unanswered} calls without a dispatch, {doubles} "
        f"with two; afterwards {lacking['claims']} not in the claims, {lacking['journal']} not "
        "in the journal",
    )


def _figures(calls: int, url: str, disk: Disk | None, *, redis: bool, spare: int) -> str:
    kind = "PostgreSQL" if url.startswith("postgresql") else "SQLite"
    full = "" if disk is None else ", disk full"
    if disk is not None and not disk.mounted:
        full = ", files that may not grow (RLIMIT_FSIZE) for a full disk"
    away = ", Redis away" if redis else ""
    return f"{calls:,} calls over {kind}{away}{full}, {spare} claimed without the database"


async def itself(ground: Ground) -> Seen:
    """Run with our router; in full size over PostgreSQL too, as far as that fits."""
    seen = await run(ground)
    if ground.size == "quick" or postgres.binaries() is None:
        return seen
    with ExitStack() as stack:
        url = stack.enter_context(postgres.running()).new_database()
        folder = ground.folder / "postgres"
        folder.mkdir()
        own = Ground(folder=folder, size="full", say=ground.say, livekit_server=None)
        also = await run(own, database_url=url)
    return Seen(seen.holds and also.holds, f"{seen.figures}; {also.figures}")


async def forgets(ground: Ground) -> Seen:
    """Run with a router that dispatches without the database and does not tell it later."""
    own = Ground(folder=ground.folder, size="quick", say=ground.say, livekit_server=None)
    return await run(own, policy="forgets")


SCENARIOS = (
    Scenario(
        name="stores",
        fault="Redis down; database locked 30 s; disk full",
        must="calls answered; nothing recorded is lost",
        run=itself,
        controls=(
            Control(
                name="forgets",
                bad="does not tell the database afterwards what it did without it",
                run=forgets,
            ),
        ),
    ),
)
