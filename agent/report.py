"""Tells the router what happens in a call, and asks it to run tools.

An event is numbered, written to disk by a thread, and sent by a task; whoever notes it waits for
neither. What is not acknowledged when the process ends, however it ends, is sent by the worker's
main process (``agent.resend``).
"""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from pydantic import ValidationError

from agent.errors import ToolUnavailable
from agent.job import Turn
from agent.sender import NOT_POSSIBLE, REPORTS_PATH, Sender, pack
from agent.settings import AgentSettings
from agent.spool import Address, SpoolFile
from personas.contract import Report
from personas.reports import MAX_EVENTS, MAX_SEQ, AnyCallEvent, Event, numbered
from personas.tokens import call_token

log = structlog.get_logger(__name__)

GATHER_S: Final = 0.1  # events that come together are sent together
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0
KEEP_S: Final = 5.0  # for a disk that hangs
CLOSE_S: Final = 3.0
MAX_UNSENT: Final = 10_000  # in memory; more are on disk alone


class Reporter(Protocol):
    """Takes what a call's record is made of."""

    def note(self, event: Event) -> None:
        """Keep *event* and send it in the background; never waits, never raises."""
        ...

    async def keep(self, event: Event) -> None:
        """Do as ``note`` does, and return when the event is on disk."""
        ...

    async def tool(self, name: str, arguments: Mapping[str, Any], *, deadline_s: float) -> str:
        """Have the router run a tool; return what the model shall hear.

        Raises:
            ToolUnavailable: in words for the model.
        """
        ...

    async def aclose(self) -> None:
        """Send what is left, for a while; what is then left is sent later."""
        ...


class NoReporter:
    """Keeps nothing: the job did not say where to report to."""

    def note(self, event: Event) -> None:
        """Let it go."""

    async def keep(self, event: Event) -> None:
        """Let it go."""

    async def tool(  # the arguments are the protocol's
        self,
        name: str,  # noqa: ARG002
        arguments: Mapping[str, Any],  # noqa: ARG002
        *,
        deadline_s: float,  # noqa: ARG002
    ) -> str:
        """Tell the model that there is nobody to ask."""
        raise ToolUnavailable(NOT_POSSIBLE)

    async def aclose(self) -> None:
        """Nothing is left."""


def reporter_for(turn: Turn, settings: AgentSettings) -> Reporter:
    """Return what reports on the call of a job, if it is known where to.

    A call that another backend dispatched gets an id of its own.
    """
    secret = settings.livekit_api_secret.get_secret_value()
    base, call_id = settings.router_url.rstrip("/"), turn.call_id or uuid.uuid4().hex
    if base:
        report = Report(url=base + REPORTS_PATH, token=call_token(call_id, secret, time.time()))
    elif turn.report is not None and turn.call_id:
        report = turn.report
    else:
        return NoReporter()
    try:
        address = Address(call_id=call_id, attempt=turn.attempt, url=report.url, token=report.token)
    except ValidationError:
        log.error("report.impossible", fix="see call_id and attempt of the job's _call")
        return NoReporter()
    return CallReporter(address, folder=settings.report_spool_dir, sender=sender_for(settings))


def sender_for(settings: AgentSettings) -> Sender:
    """Return what brings reports to the router."""
    secret = settings.livekit_api_secret.get_secret_value()
    return Sender(lambda call_id: call_token(call_id, secret, time.time()))


class CallReporter:
    """Reports on one attempt of one call; make it in the event loop in which it is used.

    Nothing is on disk before the first event: an agent that is not elected leaves no trace.
    """

    def __init__(
        self,
        address: Address,
        *,
        folder: Path,
        sender: Sender,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._address = address
        self._folder = folder
        self._sender = sender
        self._clock = clock
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._file: SpoolFile | None = None
        self._seq = 0
        self._unwritten: list[AnyCallEvent] = []
        self._unsent: list[AnyCallEvent] = []
        self._kept: list[asyncio.Future[None]] = []
        self._noted = asyncio.Event()
        self._to_send = asyncio.Event()
        self._written = asyncio.Event()
        self._sent = asyncio.Event()
        self._only_on_disk = False  # some events are not in memory any more
        self._only_in_memory = 0  # events that could not be written
        self._tasks: list[asyncio.Task[None]] = []
        self._written.set()
        self._sent.set()

    def note(self, event: Event) -> None:
        """Keep *event* and send it in the background."""
        if self._seq >= MAX_SEQ:
            return
        self._seq += 1
        if self._seq == MAX_SEQ:
            log.error("report.full", call_id=self._address.call_id, events=MAX_SEQ)
        made = numbered(event, seq=self._seq, attempt=self._address.attempt, at=self._clock())
        self._unwritten.append(made)
        self._written.clear()
        self._noted.set()
        if not self._tasks:
            self._tasks = [_task(self._write()), _task(self._send())]

    async def keep(self, event: Event) -> None:
        """Do as ``note`` does, and return when the event is on disk."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kept.append(kept)
        self.note(event)
        try:
            async with asyncio.timeout(KEEP_S):
                await kept
        except TimeoutError:
            log.error("report.not_kept", call_id=self._address.call_id, waited_s=KEEP_S)

    async def tool(self, name: str, arguments: Mapping[str, Any], *, deadline_s: float) -> str:
        """Have the router run a tool; see ``Reporter``."""
        return await self._sender.run_tool(self._address, name, arguments, deadline_s)

    async def aclose(self) -> None:
        """Write everything, send for ``CLOSE_S``, and leave the rest to the main process."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_S):
                await self._written.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._sent.wait()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        left = len(self._unwritten) + len(self._unsent)
        if left and self._only_in_memory:
            log.error("report.lost", call_id=self._address.call_id, events=self._only_in_memory)
        elif left or self._only_on_disk:
            log.warning("report.left_for_later", call_id=self._address.call_id, events=left)
        done = not left and not self._only_on_disk
        await asyncio.get_running_loop().run_in_executor(self._disk, self._finish, done)
        self._disk.shutdown(wait=False)
        await self._sender.aclose()

    # ---- to disk ----

    async def _write(self) -> None:
        while True:
            await self._noted.wait()
            self._noted.clear()
            events, self._unwritten = self._unwritten, []
            kept, self._kept = self._kept, []
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._append, events)
            except OSError as exc:
                # They are sent all the same, from memory: only a crash would lose them.
                self._only_in_memory += len(events)
                log.error("spool.not_written", error=type(exc).__name__, events=len(events))
            for waiting in kept:
                if not waiting.done():
                    waiting.set_result(None)
            self._pass_on(events)
            if not self._unwritten:
                self._written.set()

    def _append(self, events: list[AnyCallEvent]) -> None:
        if self._file is None:
            self._file = SpoolFile.create(self._folder, self._address)
        self._file.append(events)

    def _pass_on(self, events: list[AnyCallEvent]) -> None:
        if len(self._unsent) + len(events) > MAX_UNSENT:
            self._only_on_disk = True
            return
        self._unsent += events
        self._sent.clear()
        self._to_send.set()

    def _finish(self, done: bool) -> None:
        if self._file is not None and done:
            self._file.remove()
        elif self._file is not None:
            self._file.close()

    # ---- to the router ----

    async def _send(self) -> None:
        pause_s, most = FIRST_PAUSE_S, MAX_EVENTS
        while True:
            await self._to_send.wait()
            await asyncio.sleep(GATHER_S)
            count, body = pack(self._address.call_id, self._unsent, most)
            outcome = await self._sender.send(self._address, body)
            if outcome == "later":
                if pause_s == FIRST_PAUSE_S:  # once, however long it lasts
                    log.warning("report.delayed", call_id=self._address.call_id)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # spread
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            if outcome == "refused" and count > 1:
                most = count // 2  # to find the one that it does not take
                continue
            if outcome == "refused":
                kind = self._unsent[0].kind
                log.error("report.dropped", call_id=self._address.call_id, kind=kind)
            most = MAX_EVENTS
            del self._unsent[:count]
            if not self._unsent:
                self._to_send.clear()
                self._sent.set()


def _task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)
