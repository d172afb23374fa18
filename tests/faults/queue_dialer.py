"""A known-bad dialer: a durable queue hands the leads out, and no row is written before a dial.

``python -m tests.faults.queue_dialer FOLDER LIVEKIT_URL``: calls the numbers of FOLDER/numbers over
DBOS, one workflow each, until FOLDER/done says that all are over. After ``kill -9`` the queue hands
out again what was in flight, as it promises.
"""

import asyncio
import json
import random
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from dbos import DBOS, SetWorkflowID
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest

from router.demo.processes import Child
from router.demo.settings import PROJECT, DemoSettings

AT_ONCE = 4
CALL_S = 0.6  # as long as a call takes
START_S = 60.0
LONGEST_S = 300.0
METHOD = "/twirp/livekit.AgentDispatchService/CreateDispatch"


class QueueDialer:
    """Runs the program, again when it was killed. ``async with`` it."""

    def __init__(self, folder: Path, url: str, numbers: Sequence[str]) -> None:
        self._folder = folder
        self._url = url
        self._child: Child | None = None
        (folder / "numbers").write_text("\n".join(numbers), encoding="utf-8")

    async def start(self) -> Child:
        started = self._folder / "started"
        started.unlink(missing_ok=True)
        self._child = Child(
            "queue",
            [sys.executable, "-m", "tests.faults.queue_dialer", str(self._folder), self._url],
            log_path=self._folder / "queue.log",
            env={**DemoSettings.load().environ, "PYTHONPATH": str(PROJECT)},
        )
        await self._child.wait_until(started.exists, timeout_s=START_S, what="its queue")
        return self._child

    async def kill_until_done(self, *, every_s: float, most: int) -> int:
        """Kill it at random moments until every number was called; return how often."""
        chance, kills = random.Random(6), 0  # noqa: S311  # the same run each time
        ends_at = time.monotonic() + LONGEST_S
        while time.monotonic() < ends_at:
            child = await self.start()
            await asyncio.sleep(chance.uniform(0.5, 1.5) * every_s)
            while kills >= most and not (self._folder / "done").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # it writes a file
            if (self._folder / "done").exists():
                break
            child.kill()
            kills += 1
        return kills

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is not None:
            await self._child.stop()


def dispatch(url: str, number: str) -> None:
    """Send an agent that dials *number*."""
    order = {"number": number, "not_after": time.time() + 20}
    config = {"call_id": number, "room": number, "dial": order, "report": {"token": ""}}
    request = CreateAgentDispatchRequest(
        agent_name="a", room=f"out-{number}", metadata=json.dumps({"_call": config})
    )
    sent = urllib.request.Request(  # noqa: S310  # our own stand-in, on loopback
        url.replace("ws://", "http://") + METHOD,
        data=request.SerializeToString(),
        headers={"Content-Type": "application/protobuf"},
    )
    with urllib.request.urlopen(sent, timeout=5) as answer:  # noqa: S310
        answer.read()
    time.sleep(CALL_S)  # as long as it rings


def main() -> None:
    """Work until killed."""
    folder, url = Path(sys.argv[1]), sys.argv[2]
    numbers = (folder / "numbers").read_text(encoding="utf-8").split()
    DBOS(
        config={
            "name": "queue-dialer",
            "system_database_url": f"sqlite:///{folder / 'queue.db'}",
            "application_version": "1",
            "executor_id": "dialer",
            "log_level": "WARNING",
        }
    )
    dial = DBOS.step()(dispatch)

    @DBOS.workflow()
    def call(number: str) -> None:
        dial(url, number)

    DBOS.launch()
    DBOS.register_queue("calls", worker_concurrency=AT_ONCE, polling_interval_sec=0.1)
    for number in numbers:
        with SetWorkflowID(number):
            DBOS.enqueue_workflow("calls", call, number)
    (folder / "started").touch()
    while len(DBOS.list_workflows(status="SUCCESS")) < len(numbers):
        time.sleep(0.2)
    (folder / "done").touch()
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
