"""Another process that is writing to the database at this moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Connection

from router.db import Store


@asynccontextmanager
async def writing_elsewhere(store_url: str) -> AsyncIterator[None]:
    """Hold the write lock of the database from another store."""
    release, locked = asyncio.Event(), asyncio.Event()
    loop, other = asyncio.get_running_loop(), Store(store_url)

    def hold(_connection: Connection) -> None:
        loop.call_soon_threadsafe(locked.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)

    holding = asyncio.create_task(other.write(hold))
    await locked.wait()
    try:
        yield
    finally:
        release.set()
        await holding
        await other.aclose()
