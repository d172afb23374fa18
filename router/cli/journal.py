"""What the commands that read the journal share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from router.cli.exits import NotThere

if TYPE_CHECKING:
    from router.db import Store
    from router.settings import RouterSettings

NO_SUCH = "the journal has no such delivery (any more); JOURNAL_DAYS says how long it keeps one"


@asynccontextmanager
async def journal_of(settings: "RouterSettings") -> AsyncIterator["Store"]:
    """Open the database of a router to read it; its schema stays as it is."""
    from router.db import Store

    _check_file(settings.store_url())
    store = Store(settings.store_url())
    try:
        yield store
    finally:
        await store.aclose()


def _check_file(url: str) -> None:
    """Look before SQLite makes a new file."""
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise NotThere(f"there is no database {path}; see DATABASE_URL and STATE_DIR")
