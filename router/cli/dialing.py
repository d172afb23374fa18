"""`campaign run|pause|resume|stop|status`: what the routers do, by way of the database.

A wish is a row; the routers that run see it within a second, and one that starts later as well.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from router.cli.exits import NotThere, RemoteAway

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from router.campaigns.progress import Mode, Wish
    from router.db import Store
    from router.engine import RunStatus
    from router.records.attempts import Attempts
    from router.records.runs import Runs
    from router.settings import RouterSettings

T = TypeVar("T")

LOOK_S: Final = 0.5
TAKEN_UP_S: Final = 10.0  # a router that runs looks every two seconds


@dataclass(frozen=True, slots=True)
class Desk:
    """The tables that the routers work by."""

    store: "Store"
    settings: "RouterSettings"
    attempts: "Attempts"
    runs: "Runs"

    async def status(self, tenant: str, key: str) -> "RunStatus":
        """Say how a run stands."""
        from router.engine import standing

        return await standing(self.runs, self.attempts, tenant, key)


async def own_numbers(settings: "RouterSettings") -> frozenset[str]:
    """Give our own numbers, as settings and persona files name them; LiveKit is not asked."""
    from router.own_numbers import OwnNumbers

    own = OwnNumbers.of(settings)
    await own.learn_files()
    return own.known()


def with_desk(settings: "RouterSettings", work: Callable[[Desk], Awaitable[T]]) -> T:
    """Run *work* with the tables open."""
    from personas import logs
    from router.db import Store
    from router.launch import judge_for
    from router.records.attempts import Attempts
    from router.records.runs import Capacity, Runs

    logs.configure(log_format="console", level="WARNING")

    def new_id() -> str:
        return os.urandom(16).hex()

    async def run() -> T:
        store = await Store(settings.store_url()).open()
        try:
            own = await own_numbers(settings)
            attempts = Attempts(
                store,
                clock=time.time,
                new_id=new_id,
                owner="command",
                judge=judge_for(lambda: own),
            )
            capacity = Capacity(settings.max_calls, settings.inbound_reserved_calls)
            runs = Runs(store, attempts, clock=time.time, new_id=new_id, capacity=capacity)
            return await work(Desk(store, settings, attempts, runs))
        finally:
            await store.aclose()

    return asyncio.run(run())


async def start(
    desk: Desk,
    tenant: str,
    key: str,
    *,
    list_name: str | None,
    position: int,
    mode: "Mode",
    at: float = 0.0,
) -> None:
    """Begin a run, not before *at* (Unix seconds).

    Raises:
        RunRefused: it runs already.
        NotThere: there is no such list, or lead.
        StoreUnavailable: the database did not answer.
    """
    from router.lead_files import read_lead_files
    from router.records.leads import Leads

    settings = desk.settings
    leads = Leads(desk.store, clock=time.time, region=settings.default_region)
    await read_lead_files(leads, settings.leads_csv_path, settings.leads_csv_dir)
    found = await leads.find(tenant, list_name)
    if found is None:
        raise NotThere("there is no such list, or none is active; see `persona-router leads list`")
    if position > found.leads:
        raise NotThere(f"the list has {found.leads} leads")
    await desk.runs.start(tenant, key, found, mode=mode, position=position - 1, by="command", at=at)


async def wish(desk: Desk, tenant: str, key: str, wanted: "Wish", *, now: bool = False) -> None:
    """Pause, resume or stop a run. Raises RunRefused, NotThere, StoreUnavailable."""
    run = await desk.runs.wish(tenant, key, wanted, "a command")
    if run is None:
        raise NotThere("this campaign has never run")
    if now:
        await desk.attempts.want_hang_up("a command stopped the campaign", run_id=run.run_id)


async def follow(desk: Desk, tenant: str, key: str) -> "RunStatus":
    """Show a bar until the run is over or paused.

    Raises:
        RemoteAway: no router takes the run up.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.fields[state]}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TextColumn("{task.fields[counts]}"), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task(key, total=None, state="", counts="")
        patient_until = time.monotonic() + TAKEN_UP_S
        while True:
            found = await desk.status(tenant, key)
            _show(bar, task, found)
            if found.state in {"idle", "paused"}:
                return found
            untouched = not found.counts and not found.waiting and _unmoved(found)
            begun = found.run is None or found.run.next_at <= time.time()
            if untouched and begun and time.monotonic() > patient_until:
                raise RemoteAway(
                    "no router has taken it up; is `persona-router serve` running with this "
                    "database? it begins when one does; `campaign stop` takes it back"
                )
            await asyncio.sleep(LOOK_S)


def _unmoved(found: "RunStatus") -> bool:
    run = found.run
    return run is not None and not run.position and not found.current


def _show(bar: "Progress", task: "TaskID", found: "RunStatus") -> None:
    run = found.run
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found.counts.items()))
    if found.waiting:
        counts = f"{counts}, {found.waiting} wait".removeprefix(", ")
    bar.update(
        task,
        total=run.leads if run else None,
        completed=run.position if run else 0,
        state=found.state,
        counts=counts,
    )


def as_text(found: "RunStatus") -> str:
    """Say it in lines."""
    run = found.run
    lines = [f"{'state':<10} {found.state}"]
    if run is not None:
        lines += [
            f"{'because':<10} {run.because}",
            f"{'list':<10} {run.list_name}",
            f"{'leads':<10} {run.position} of {run.leads}",
            f"{'waiting':<10} {found.waiting}",
        ]
    lines += [f"{state:<10} {count}" for state, count in sorted(found.counts.items())]
    lines += [f"{'current':<10} lead {one.position}: {one.state}" for one in found.current]
    return "\n".join(lines)


def as_json(found: "RunStatus") -> str:
    """Say it in JSON; numbers of people are left out."""
    run: dict[str, Any] = asdict(found.run) if found.run is not None else {}
    return json.dumps(
        {
            "campaign": found.campaign,
            "state": found.state,
            **{name: run.get(name) for name in ("because", "list_name", "leads", "position")},
            "waiting": found.waiting,
            "waiting_until": found.waiting_until,
            "counts": dict(found.counts),
            "current": [
                {"attempt_id": one.attempt_id, "lead": one.position, "state": one.state}
                for one in found.current
            ],
        }
    )
