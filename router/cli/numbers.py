"""`numbers …`: whose each of our numbers is. They write to the database themselves."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere

if TYPE_CHECKING:
    from router.records.numbers import Numbers
    from router.settings import RouterSettings

T = TypeVar("T")

app = typer.Typer(help="Whose each of our numbers is.", no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="As E.164, or as in DEFAULT_REGION.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command("list")
def list_numbers(
    tenant: Annotated[str, typer.Option("--tenant", help="Of this tenant alone.")] = "",
    dev: Dev = False,
) -> None:
    """List the numbers that were given to a tenant."""
    found = _with_numbers(lambda numbers: numbers.list(tenant or None), _settings(dev))
    if not found:
        print(
            "every number is the first tenant's; `persona-router numbers assign`", file=sys.stderr
        )
    for one in found:
        print(f"{one.number:<17} {one.tenant}")


@app.command("assign")
def assign(
    number: Number,
    tenant: Annotated[str, typer.Argument(help="Whose its calls are from now on.")],
    dev: Dev = False,
) -> None:
    """Give a number to a tenant; a router that runs takes note within seconds."""
    from router.principals import tenant_of

    if tenant_of(tenant) is None:
        raise typer.BadParameter("up to 40 letters, digits, dots, hyphens and underscores")
    settings = _settings(dev)
    e164 = _e164(number, settings)
    _with_numbers(lambda numbers: numbers.assign(e164, tenant), settings)
    print(f"{e164} is {tenant}'s")


@app.command("release")
def release(number: Number, dev: Dev = False) -> None:
    """Give a number back to the first tenant."""
    settings = _settings(dev)
    e164 = _e164(number, settings)
    if not _with_numbers(lambda numbers: numbers.release(e164), settings):
        raise NotThere("no tenant has this number; `persona-router numbers list` shows them")
    print("released")


def _settings(dev: bool) -> "RouterSettings":
    from router.settings import RouterSettings

    return RouterSettings.load(router_dev=dev or None)


def _e164(written: str, settings: "RouterSettings") -> str:
    from personas.phone import parse

    number = parse(written, settings.default_region)
    if number is None:
        raise typer.BadParameter("write the number as E.164, or set DEFAULT_REGION")
    return number.e164


def _with_numbers(work: Callable[["Numbers"], Awaitable[T]], settings: "RouterSettings") -> T:
    from router.db import Store
    from router.records.numbers import Numbers

    async def run() -> T:
        store = await Store(settings.store_url()).open()
        try:
            return await work(Numbers(store, clock=time.time))
        finally:
            await store.aclose()

    return asyncio.run(run())
