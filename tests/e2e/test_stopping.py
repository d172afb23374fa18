"""How a worker ends that is told to, with a call going on."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from livekit import api

from router.demo.livekit_server import LiveKitServer
from router.demo.processes import Child
from tests.e2e.worker import dispatch, events, metadata, phone, running_worker, until


@pytest_asyncio.fixture
async def worker(livekit: LiveKitServer, folder: Path) -> AsyncIterator[Child]:
    """A worker of this test's own."""
    async with running_worker(livekit, folder) as running:
        yield running


async def ended(worker: Child) -> int | None:
    await until(lambda: worker.exit_code is not None)
    return worker.exit_code


async def test_a_worker_that_is_told_to_stop_lets_the_call_finish(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        worker.send(signal.SIGTERM)
        await until(lambda: events(worker, "draining worker"))
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=15, count=2, containing="harbour hotel.")
        assert worker.exit_code is None, "it ended while a call was going on"

    assert await ended(worker) == 0
    assert events(worker, "worker.stopped")


async def test_a_second_signal_ends_a_worker_at_once(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        worker.send(signal.SIGTERM)
        await until(lambda: events(worker, "draining worker"))
        worker.send(signal.SIGTERM)

        assert await ended(worker) == 0

    assert events(worker, "worker.forced")
