"""What the commands share that read and write the database themselves, without a router."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere

if TYPE_CHECKING:
    from router.db import Store
    from router.settings import RouterSettings

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_for(dev: bool) -> "RouterSettings":
    """Read the settings; *dev*: short secrets will do."""
    from router.settings import RouterSettings

    return RouterSettings.load(router_dev=dev or None)


def with_store(settings: "RouterSettings", work: Callable[["Store"], Awaitable[T]]) -> T:
    """Do *work* with the database, in an event loop of its own.

    Raises:
        StoreUnavailable: it cannot be opened; and what *work* raises.
    """
    from router.db import Store

    async def run() -> T:
        store = await Store(settings.store_url()).open()
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())


def e164(written: str, settings: "RouterSettings") -> str:
    """Read a number as somebody writes it; raises BadParameter."""
    from personas.phone import parse

    number = parse(written, settings.default_region)
    if number is None:
        raise typer.BadParameter("this is no number; write it as E.164, or set DEFAULT_REGION")
    return number.e164


def bytes_of(file: Path, at_most: int) -> bytes:
    """Read a file, and of a larger one a byte more than *at_most*; raises NotThere."""
    try:
        with file.open("rb") as opened:
            return opened.read(at_most + 1)
    except OSError as exc:
        raise NotThere(f"cannot read {file}: {exc.strerror}") from None
