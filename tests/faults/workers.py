"""Workers that are not there, answer too late for LiveKit, are killed, or freeze in a call."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from tests.bench.report import percentile
from tests.e2e.evidence import until
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.stage import Line, open_stage, settle

REPLACED_S = 9.0  # p95
WAIT_S = 20.0  # for a replacement that may be late
FROZEN_WAIT_S = 45.0  # LiveKit offers every other job to the frozen worker: some take five attempts
ANSWER_S = 40.0
APPLIED = "persona.applied"  # the first line of a job process that is about its call
BLIND = "a router that does not watch over its calls"
Harm = Literal["killed", "frozen"]


# ---- nobody there, or too late ------------------------------------------------------------


def ringing(lines: Sequence[Line]) -> Seen:
    """Judge calls that had to wait: nobody may ring on, or hear two agents at once."""
    answered = [line for line in lines if line.answered]
    ended = sum(line.ended and not line.answered for line in lines)
    on = len(lines) - len(answered) - ended
    crowded = sum(line.most_at_once > 1 for line in lines)
    longest = max((line.answered_s or 0.0 for line in answered), default=0.0)
    return Seen(
        holds=not on and not crowded,
        figures=f"{len(lines)} calls: {len(answered)} answered after {longest:.0f} s at most, "
        f"{ended} ended with a reason, {on} ring on, {crowded} had two agents at once",
    )


async def no_worker(ground: Ground, *, watch: bool) -> Seen:
    """Place calls while there is no worker; then start one."""
    calls, away_s = (6, 20.0) if ground.size == "full" else (2, 6.0)
    async with (
        open_stage(ground, watch=watch) as stage,
        stage.calls(calls, every_s=0.2) as lines,
    ):
        await asyncio.sleep(away_s)
        async with stage.light_agent("agent"):
            await settle(lines, timeout_s=ANSWER_S if watch else 8.0)
            return ringing(lines)


async def late_worker(ground: Ground, *, watch: bool) -> Seen:
    """Place calls on a worker that accepts after 4 s: LiveKit drops those jobs after 3 s."""
    calls, late_for_s = (6, 10.0) if ground.size == "full" else (2, 3.0)
    async with (
        open_stage(ground, watch=watch) as stage,
        stage.light_agent("agent", "--late-s=4", f"--late-for-s={late_for_s}"),
        stage.calls(calls, every_s=0.2) as lines,
    ):
        await settle(lines, timeout_s=ANSWER_S if watch else 10.0)
        return ringing(lines)


async def worker_never_on_time(ground: Ground, *, watch: bool) -> Seen:
    """Place calls on a worker that is late every time: the ringing has to end."""
    settings = {"ANSWER_TIMEOUT_S": "1.0"}
    async with (
        open_stage(ground, settings=settings, watch=watch) as stage,
        stage.light_agent("agent", "--late-s=4", "--late-for-s=900"),
        stage.calls(2) as lines,
    ):
        await settle(lines, timeout_s=ANSWER_S if watch else 10.0)
        return ringing(lines)


# ---- killed and frozen in a call ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loss:
    """One call whose agent was harmed: when somebody else spoke, in seconds since then."""

    replaced_s: float | None
    ended: bool
    crowded: bool  # two agents that live published at once


def harmed(losses: Sequence[Loss], harm: Harm, *, within_s: float) -> Seen:
    """Judge calls whose agent was *harm*; *within_s* is for the 95th of a hundred."""
    replaced = [one.replaced_s for one in losses if one.replaced_s is not None]
    ended = sum(one.ended for one in losses if one.replaced_s is None)
    alone = len(losses) - len(replaced) - ended
    crowded = sum(one.crowded for one in losses)
    p95 = percentile(replaced, 95) if replaced else 0.0
    shown = f" (p50 {percentile(replaced, 50):.1f} s, p95 {p95:.1f} s)" if replaced else ""
    return Seen(
        holds=not alone and not crowded and p95 <= within_s,
        figures=f"{len(losses)} agents {harm} in a call: {len(replaced)} replaced{shown}, "
        f"{ended} callers' calls ended, {alone} callers left alone, {crowded} heard two at once",
    )


async def kill_workers(ground: Ground, *, watch: bool) -> Seen:
    """Kill the worker of several calls at once while another stands by, again and again."""
    calls, at_once = (50 if watch else 5), 5
    if ground.size == "quick":
        calls, at_once = 2, 2
    losses: list[Loss] = []
    async with open_stage(ground, watch=watch) as stage, AsyncExitStack() as workers:
        working = await workers.enter_async_context(stage.light_agent("agent-0"))
        while len(losses) < calls:
            async with stage.calls(at_once, every_s=0.1) as lines:
                await settle(lines, timeout_s=ANSWER_S)
                standby = stage.light_agent(f"agent-{len(losses) + 1}")
                await workers.enter_async_context(standby)
                wait_s = WAIT_S if watch else REPLACED_S + 1
                losses += await _harm([working.child.pid], "killed", lines, wait_s)
                working = standby
            ground.say(f"{len(losses)} of {calls} agents killed")
    return harmed(losses, "killed", within_s=REPLACED_S)


async def freeze_worker(ground: Ground, *, watch: bool) -> Seen:
    """Freeze a worker with all its calls, as a machine that swaps; LiveKit still counts on it."""
    async with (
        open_stage(ground, watch=watch) as stage,
        stage.light_agent("agent") as working,
        stage.calls(8, every_s=0.1) as lines,
    ):
        await settle(lines, timeout_s=ANSWER_S)
        async with stage.light_agent("standby"):
            wait_s = FROZEN_WAIT_S if watch else REPLACED_S + 1
            losses = await _harm([working.child.pid], "frozen", lines, wait_s)
            working.kill()
    return harmed(losses, "frozen", within_s=FROZEN_WAIT_S)


async def lose_jobs(ground: Ground, *, watch: bool) -> Seen:
    """Harm the job processes of a real worker, which goes on and takes the next attempts."""
    losses: dict[Harm, list[Loss]] = {"killed": [], "frozen": []}
    async with open_stage(ground, watch=watch) as stage, stage.real_agent("agent") as agent:
        for harm, found in losses.items():
            async with stage.calls(5 if watch else 2, every_s=0.2) as lines:
                await settle(lines, timeout_s=ANSWER_S)
                held = partial(_pids, agent.child.log, lines)
                pids = await until(held, what="processes that hold the calls")
                wait_s = WAIT_S if watch else REPLACED_S + 1
                found.extend(await _harm(pids, harm, lines, wait_s))
            ground.say(f"{len(found)} job processes {harm}")
    seen = [harmed(found, harm, within_s=REPLACED_S) for harm, found in losses.items()]
    return Seen(all(one.holds for one in seen), "; ".join(one.figures for one in seen))


def _pids(log: Callable[[], str], lines: Sequence[Line]) -> list[int]:
    """Return the process of each line's only agent; empty until all are known."""
    whole, _, _being_written = log().rpartition("\n")
    applied = [one for one in map(json.loads, whole.splitlines()) if one["event"] == APPLIED]
    held = {f"agent-{one['job_id']}": int(one["pid"]) for one in applied}
    there = [line.phone.agents_present for line in lines]
    return [held[one] for (one,) in there] if all(_only(one, held) for one in there) else []


def _only(there: Sequence[str], known: Collection[str]) -> bool:
    return len(there) == 1 and there[0] in known


async def _harm(
    pids: Sequence[int], harm: Harm, lines: Sequence[Line], wait_s: float
) -> list[Loss]:
    """Send the signal to *pids*, which hold the calls of *lines*; see what becomes of these."""
    before = [set(line.publishing) for line in lines]
    number = signal.SIGKILL if harm == "killed" else signal.SIGSTOP
    at = time.monotonic()
    for pid in pids:
        os.kill(pid, number)

    def over(line: Line, known: set[str]) -> bool:
        return line.ended or line.first_other_than(known) is not None

    while time.monotonic() < at + wait_s:
        if all(map(over, lines, before)):
            break
        await asyncio.sleep(0.05)  # the lines look that often
    await asyncio.sleep(1.0)  # would another one come?
    losses = []
    for line, known in zip(lines, before, strict=True):
        new_at = line.first_other_than(known)
        crowded = any(len(set(sids) - known) > 1 for _, sids in line.samples)
        losses.append(Loss(new_at and new_at - at, line.ended, crowded))
    return losses


def _waiting(name: str, fault: str, run: Callable[..., Coroutine[Any, Any, Seen]]) -> Scenario:
    return Scenario(
        name=name,
        fault=fault,
        must="all answered or ended with a reason, one agent each",
        run=partial(run, watch=True),
        quick=False,
        controls=(Control(name="no_watch", bad=BLIND, run=partial(run, watch=False)),),
        needs_livekit=True,
    )


SCENARIOS = (
    _waiting("no_worker", "no worker for 20 s", no_worker),
    _waiting("late_worker", "a worker that accepts after 4 s, for 10 s", late_worker),
    Scenario(
        name="worker_never_on_time",
        fault="a worker that accepts after 4 s, always",
        must="the router answers as last resort, or the ringing ends with a reason",
        run=partial(worker_never_on_time, watch=True),
        controls=(
            Control(name="no_watch", bad=BLIND, run=partial(worker_never_on_time, watch=False)),
        ),
        quick=False,
        needs_livekit=True,
    ),
    Scenario(
        name="worker_killed",
        fault="workers killed with all their calls",
        must=f"each agent replaced, p95 ≤ {REPLACED_S:g} s, or the call ended",
        run=partial(kill_workers, watch=True),
        controls=(Control(name="no_watch", bad=BLIND, run=partial(kill_workers, watch=False)),),
        quick=False,
        needs_livekit=True,
    ),
    Scenario(
        name="worker_frozen",
        fault="a worker frozen with all its calls, to which LiveKit goes on offering jobs",
        must="each agent replaced, or the call ended with a reason",
        run=partial(freeze_worker, watch=True),
        controls=(Control(name="no_watch", bad=BLIND, run=partial(freeze_worker, watch=False)),),
        quick=False,
        needs_livekit=True,
    ),
    Scenario(
        name="job_lost",
        fault="job processes of our worker killed and frozen in the middle of calls",
        must=f"each agent replaced, p95 ≤ {REPLACED_S:g} s, or the call ended",
        run=partial(lose_jobs, watch=True),
        controls=(Control(name="no_watch", bad=BLIND, run=partial(lose_jobs, watch=False)),),
        quick=False,
        needs_livekit=True,
    ),
)
