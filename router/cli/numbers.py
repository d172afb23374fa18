"""`numbers …`: whose each of our numbers is. They write to the database themselves."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere
from router.cli.kept import AsJson, e164, settings_for, with_store

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
    as_json: AsJson = False,
    dev: Dev = False,
) -> None:
    """List the numbers that were given to a tenant."""
    found = _with_numbers(lambda numbers: numbers.list(tenant or None), settings_for(dev))
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
        return
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
    settings = settings_for(dev)
    wanted = e164(number, settings)
    _with_numbers(lambda numbers: numbers.assign(wanted, tenant), settings)
    print(f"{wanted} is {tenant}'s")


@app.command("release")
def release(number: Number, dev: Dev = False) -> None:
    """Give a number back to the first tenant."""
    settings = settings_for(dev)
    wanted = e164(number, settings)
    if not _with_numbers(lambda numbers: numbers.release(wanted), settings):
        raise NotThere("no tenant has this number; `persona-router numbers list` shows them")
    print("released")


def _with_numbers(work: Callable[["Numbers"], Awaitable[T]], settings: "RouterSettings") -> T:
    from router.records.numbers import Numbers

    return with_store(settings, lambda store: work(Numbers(store, clock=time.time)))
