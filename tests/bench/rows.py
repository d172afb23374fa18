"""What pages cost against the number of rows, on SQLite and on PostgreSQL.

The pages are those of the router, asked in its own process by an operator; times are the server's,
from the request to the last byte of the answer, and in brackets the processor time of the router in
it, which a busy machine changes less. The calls began within a day, so that everything
that looks at a day looks at all of them.
"""

import json
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from router.dashboard.table import PAGES
from router.db import Store
from router.records.call_tables import calls, events, facts
from tests import postgres
from tests.bench.report import Figure, Say, percentile
from tests.router.api.rig import Rig, open_rig

SIZES: Final = (1_000, 10_000, 100_000)  # calls; ten facts each
FACTS: Final = 10
ROUNDS: Final = 24  # all but the slowest one count
WANTED_MS: Final = 300.0
CALL: Final = f"{7:032x}"
ASKED_WITH_MORE: Final = {"/numbers/diff"}
PATHS: Final = (
    *(
        page.path
        for page in PAGES
        if page.method == "GET" and page.needs in {"viewer", "operator"}
        if "{" not in page.path and page.path not in ASKED_WITH_MORE
    ),
    "/calls?persona_name=Persona+3&disposition=answered",
    "/calls?caller=%2B13125550107",
    "/calls?direction=outbound",  # of which there is none
    "/calls?open=true",
    f"/calls/{CALL}",
    "/api/summary",
    "/api/figures",
    "/api/calls?limit=500",
    "/api/calls?limit=500&format=csv",
    "/api/sessions?limit=500",
    "/api/information?category=request&limit=500",
    "/api/information?caller=%2B13125550107&limit=500",
)


@dataclass(frozen=True, slots=True)
class Took:
    """95th percentiles."""

    ms: float
    cpu_ms: float


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Fill databases and ask for every page."""
    taken: dict[str, dict[str, list[Took]]] = {path: {} for path in PATHS}  # by kind, by size
    with postgres.running() as server:
        for kind in ("SQLite", "PostgreSQL"):
            for size in SIZES:
                url = f"sqlite:///{folder / f'{size}.db'}"
                if kind == "PostgreSQL":
                    url = server.new_database()
                began = time.perf_counter()
                asked = await _asked(folder / f"{kind}{size}", url, size)
                say(f"{kind}, {size:,} calls: {time.perf_counter() - began:.0f} s")
                for path, took in asked.items():
                    taken[path].setdefault(kind, []).append(took)
                    say(f"    {path} {took.ms:.0f} ms ({took.cpu_ms:.0f})")
    return [
        Figure(
            f"`{path}`, p95 with {SIZES[0]:,} → {SIZES[-1]:,} calls and ten facts each",
            "; ".join(
                f"{kind} {' → '.join(f'{one.ms:.0f} ({one.cpu_ms:.0f})' for one in by_size)} ms"
                for kind, by_size in of_kinds.items()
            ),
            f"under {WANTED_MS:g} ms",
            met=max(by_size[-1].ms for by_size in of_kinds.values()) < WANTED_MS,
        )
        for path, of_kinds in taken.items()
    ]


async def _asked(folder: Path, url: str, size: int) -> dict[str, Took]:
    """Return the 95th percentile of each path in milliseconds."""
    await (await Store(url).open()).aclose()
    fill(url, size)
    async with open_rig(folder, database_url=url) as rig:  # which finds all of it at its start
        headers = await rig.token("operator")
        return {path: await p95(rig, path, headers) for path in PATHS}


async def p95(rig: Rig, path: str, headers: dict[str, str]) -> Took:
    """Ask for a page again and again."""
    took, of_cpu = [], []
    async with rig.client() as client:
        for _ in range(ROUNDS):
            started, cpu = time.perf_counter(), time.process_time()
            answer = await client.get(path, headers=headers)
            took.append((time.perf_counter() - started) * 1000)
            of_cpu.append((time.process_time() - cpu) * 1000)
            if answer.status_code != 200:
                raise AssertionError(f"{path}: {answer.status_code}")
    return Took(percentile(took, 95), percentile(of_cpu, 95))


def fill(url: str, size: int) -> None:
    """Write *size* calls of the last day, with what was told in them."""
    tables = (
        (calls.name, [one.name for one in calls.c], _calls(size)),
        (facts.name, [one.name for one in facts.c], _facts(size)),
        (events.name, [one.name for one in events.c], _turns(min(size, 2_000))),
    )
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        for table, columns, rows in tables:
            places = ", ".join("?" * len(columns))
            text = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
            connection.executemany(text, rows)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return
    with psycopg.connect(url, autocommit=True) as server:
        for table, columns, rows in tables:
            copy = f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()
            with server.cursor().copy(copy) as into:
                for row in rows:
                    into.write_row(row)
        server.execute("ANALYZE")


def _calls(size: int) -> Iterator[Sequence[Any]]:
    chance, now = random.Random(7), time.time()  # noqa: S311 - the same each time
    for number in range(size):
        began = now - 86_000 * (1 - number / size)
        is_open = number >= size - 20
        row: dict[str, Any] = dict.fromkeys(column.name for column in calls.c)
        row |= dict.fromkeys(("attempts", "turns", "tool_calls"), 1) | {"facts": FACTS}
        row |= {
            "call_id": f"{number:032x}",
            "tenant": "default",
            "direction": "inbound",
            "room": f"call-{number}",
            "room_sid": f"RM_{number}",
            "caller": f"+131255501{number % 100:02}",
            "dialed_number": f"+4930901820{number % 50:02}",
            "persona_name": f"Persona {number % 20}",
            "persona_version": "sha256:" + "a1" * 32,
            "persona_origin": chance.choice(("api", "fresh", "stale", "house")),
            "persona_because": "the dialed number; the persona API answered",
            "language": "en",
            "started_at": began,
            "answered_at": began + 0.5,
            "ring_ms": chance.gauss(500, 90),
            "problems": int(number % 50 == 0),
            "opened_by": "router",
            "heard_at": began + 60,
        }
        if not is_open:
            row |= {
                "ended_at": began + 90,
                "disposition": chance.choice(("answered", "answered", "no_answer", "busy")),
                "reason": "the caller hung up",
                "duration_s": 90.0,
                "closed_by": "agent",
                "qualification": chance.choice(("interested", "urgent", None)),
            }
        yield tuple(row.values())


def _facts(size: int) -> Iterator[Sequence[Any]]:
    kinds = ("request", "contact_details", "qualification", "personal_info", "schedule")
    for number in range(size * FACTS):
        call, seq = divmod(number, FACTS)
        row = {
            "call_id": f"{call:032x}",
            "attempt": 1,
            "seq": seq + 10,
            "fact_id": f"f{seq}",
            "tenant": "default",
            "caller": f"+131255501{call % 100:02}",
            "at": time.time() - 86_000 * (1 - call / size),
            "category": kinds[number % len(kinds)],
            "information": f"what caller {call} told, number {seq}",
        }
        yield tuple(row[column.name] for column in facts.c)


def _turns(size: int) -> Iterator[Sequence[Any]]:
    for call in range(size):
        for seq in range(1, 9):
            by = "agent" if seq % 2 else "caller"
            body = {"kind": "turn", "seq": seq, "attempt": 1, "at": time.time(), "by": by}
            text = json.dumps({**body, "text": f"Words of turn {seq}.", "interrupted": False})
            yield (f"{call:032x}", 1, seq, body["at"], "turn", text)
