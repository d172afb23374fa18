"""Agents and routers die while calls are reported."""

import asyncio
import os
import random
import sqlite3
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from personas.reports import FactEvent, TurnEvent, read_event
from router.demo.processes import Child, answers, free_port
from tests.faults.report_writer import AT_ONCE
from tests.faults.scenario import Control, Ground, Scenario, Seen

SECRET = "reports-scenario-secret-of-32-bytes-or-more"
KILLS = {"quick": 4, "full": 90}
PAUSE_S = {"quick": (0.5, 1.5), "full": (0.5, 2.5)}
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


class Processes:
    """One router and one worker, which are started again whenever they were killed."""

    def __init__(
        self, folder: Path, mode: str, *, database_url: str = "", at_once: int = AT_ONCE
    ) -> None:
        self.folder = folder
        self._mode = mode
        self._database_url = database_url
        self._at_once = at_once
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/api/reports"
        self.database = folder / "state" / "persona-router.db"

    async def router(self) -> Child:
        settings = {
            "LIVEKIT_URL": "ws://127.0.0.1:9",  # nobody: reports need no LiveKit
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": SECRET,
            "PERSONA_API_BASE": "off",
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
            "STATE_DIR": str(self.folder / "state"),
            "DATABASE_URL": self._database_url,
        }
        child = Child(
            "router",
            [sys.executable, "-m", "router", "serve"],
            log_path=self.folder / "router.log",
            env=environment() | settings,
            cwd=Path.cwd(),
        )
        await child.wait_until(
            lambda: answers(self._port, "/healthz"), timeout_s=120, what="200 from /healthz"
        )
        return child

    def writer(self, mode: str = "") -> Child:
        program = [sys.executable, "-m", "tests.faults.report_writer"]
        return Child(
            "writer",
            [*program, str(self.folder), self.url, SECRET, mode or self._mode, str(self._at_once)],
            log_path=self.folder / "writer.log",
            env=environment(),
            cwd=Path.cwd(),
        )

    def truth(self) -> list[str]:
        path = self.folder / "truth.log"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return text.split("\n")[:-1]  # of a last line that was cut nothing was acknowledged


async def killed(mode: str, ground: Ground) -> Seen:
    """Kill router and worker at random; compare what was acknowledged with what is stored."""
    chance = random.Random(11)  # noqa: S311  # the same kills in every run
    processes = Processes(ground.folder, mode)
    router, writer = await processes.router(), processes.writer()
    kills: Counter[str] = Counter()
    try:
        while sum(kills.values()) < KILLS[ground.size]:
            told = len(processes.truth())
            async with asyncio.timeout(60):
                while len(processes.truth()) <= told:  # noqa: ASYNC110  # another process writes it
                    await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(*PAUSE_S[ground.size]))
            if sum(kills.values()) % 3 == 1:
                router.kill()
                kills["router"] += 1
                router = await processes.router()
            else:
                writer.kill()
                kills["agent"] += 1
                writer = processes.writer()
        writer.kill()
        writer = processes.writer("drain")
        await writer.wait_until(lambda: writer.exit_code == 0, timeout_s=120, what="an empty spool")
    finally:
        writer.kill()
        router.kill()
    return judge(processes, kills)


def judge(processes: Processes, kills: Counter[str]) -> Seen:
    with sqlite3.connect(processes.database) as database:
        bodies = database.execute("SELECT body FROM call_events").fetchall()
        counted = database.execute("SELECT sum(turns) + sum(facts) FROM calls").fetchone()[0] or 0
        facts = database.execute("SELECT count(*) FROM facts").fetchone()[0]
        calls = database.execute("SELECT count(*) FROM calls").fetchone()[0]
    told = [read_event(body) for (body,) in bodies]
    stored = Counter(
        event.information if isinstance(event, FactEvent) else event.text
        for event in told
        if isinstance(event, FactEvent | TurnEvent)
    )
    truth = processes.truth()
    lost = [what for what in truth if what not in stored]
    doubled = sum(count - 1 for count in stored.values())
    wrong = abs(counted - sum(stored.values())) + abs(
        facts - sum(isinstance(event, FactEvent) for event in told)
    )
    figures = (
        f"{calls:,} calls, {kills['agent']} kills of the agent, {kills['router']} of the router: "
        f"{len(truth):,} acknowledged, {len(lost):,} lost, {doubled:,} double, "
        f"{wrong:,} counted wrong"
    )
    return Seen(bool(truth) and not lost and not doubled and not wrong, figures)


SCENARIOS = (
    Scenario(
        name="reports_killed",
        fault="`kill -9` of agent and router while calls are reported",
        must="everything that was acknowledged is in the store, once",
        run=partial(killed, "write"),
        controls=(
            Control(
                name="in_memory",
                bad="the agent keeps reports in memory until the router has them",
                run=partial(killed, "forget"),
            ),
        ),
    ),
)
