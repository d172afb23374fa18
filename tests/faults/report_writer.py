"""A worker's reporting without its conversations, as a process that can be killed at any moment.

``python -m tests.faults.report_writer FOLDER URL SECRET MODE AT_ONCE``: ``write`` begins calls
until it is killed and resends what earlier processes left, ``drain`` only resends, until nothing is
left. ``forget`` writes without a disk: the known-bad variant. What it was told to be kept stands in
FOLDER/truth.log, flushed.
"""

import asyncio
import os
import random
import sys
import time
import uuid
from pathlib import Path

from agent.report import CallReporter
from agent.resend import Resender
from agent.sender import Sender
from agent.spool import Address, files_in
from personas.reports import Closed, Fact, Opened, Turn
from personas.tokens import call_token

AT_ONCE = 4
TURNS = 12
RESEND_S = 0.3
DRAIN_S = 240.0


class Truth:
    """What has been acknowledged to whoever noted it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, what: str) -> None:
        os.write(self._fd, f"{what}\n".encode())
        os.fsync(self._fd)


def sender(secret: str) -> Sender:
    return Sender(lambda call_id: call_token(call_id, secret, time.time()))


async def hold(folder: Path, spool: Path, url: str, secret: str, truth: Truth) -> None:
    """Report one call after the other."""
    while True:
        call_id = uuid.uuid4().hex[:24]
        token = call_token(call_id, secret, time.time())
        address = Address(call_id=call_id, attempt=1, url=url, token=token)
        reporter = CallReporter(address, folder=spool, sender=sender(secret))
        reporter.note(Opened(room=f"room-{call_id}", direction="inbound"))
        for number in range(TURNS):
            what = f"{call_id}/{number}"
            event = (
                Fact(id=f"{number}", category="truth", information=what)
                if number % 3 == 0
                else Turn(by="caller", text=what)
            )
            if spool == folder / "spool":
                await reporter.keep(event)
            else:
                reporter.note(event)
            truth.add(what)
            await asyncio.sleep(random.uniform(0.0, 0.1))  # noqa: S311  # so that kills hit all of it
        await reporter.keep(Closed(reason="done", disposition="answered", duration_s=1.0))
        await reporter.aclose()


async def main() -> int:
    folder, url, secret, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    resender = Resender(folder / "spool", sender(secret), max_bytes=1 << 30, max_age_s=float("inf"))
    truth = Truth(folder / "truth.log")
    (folder / "no-folder").touch()
    spool = folder / ("no-folder" if mode == "forget" else "spool")
    tasks = [
        asyncio.create_task(hold(folder, spool, url, secret, truth))
        for _ in range(int(sys.argv[5]) if mode != "drain" else 0)
    ]
    until = time.monotonic() + DRAIN_S
    while mode != "drain" or files_in(folder / "spool"):
        await resender.turn()
        await asyncio.sleep(RESEND_S)
        if mode == "drain" and time.monotonic() > until:
            return 1
        for task in tasks:
            if task.done():
                task.result()
    await resender.aclose()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
