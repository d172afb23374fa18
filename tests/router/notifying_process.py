"""A router's notifier alone, in a process that a test can kill: database, port of the receiver."""

import asyncio
import sys
import time

import httpx

from router.addresses import Neighbours
from router.db import Store
from router.metrics import Metrics
from router.notifier import Notifier
from router.records.hooks import Hooks
from tests.hook_receiver import SEAL


async def main(url: str) -> None:
    store = await Store(url).open()
    async with httpx.AsyncClient(trust_env=False) as client:
        await Notifier(
            hooks=Hooks(store, clock=time.time, seal=SEAL),
            client=client,
            neighbours=Neighbours.of("127.0.0.1"),
            metrics=Metrics(),
            lease_s=0.5,
        ).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
