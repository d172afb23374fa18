"""`consent …`: what people have agreed to. They write to the database themselves."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.campaigns.consent import Agreement
    from router.records.consents import Consents
    from router.settings import RouterSettings

T = TypeVar("T")

app = typer.Typer(help="What people have agreed to.", no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="As E.164, or as in DEFAULT_REGION.")]
What = Annotated[str, typer.Option("--what", help="What it is that they agree to.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose people.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command("list")
def list_agreements(
    clear: Annotated[bool, typer.Option("--clear", help="Print the numbers in full.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """List them, the latest first; numbers are masked."""
    from personas.logs import masked

    for one in _with_consents(lambda kept: _all(kept, tenant), _settings(dev)):
        row = asdict(one) if clear else masked(asdict(one))
        state = "stands" if one.stands else "withdrawn"
        print(f"{row['number']:<17} {one.what:<12} {state:<10} {one.source or ''}")


@app.command()
def add(
    number: Number,
    source: Annotated[str, typer.Option("--source", help="Where it was given.")],
    what: What = "calls",
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Keep that somebody has agreed, now."""
    from router.campaigns.consent import Consent
    from router.records.consents import Given

    settings = _settings(dev)
    given = Given(_e164(number, settings), Consent(what.lower(), time.time(), source))
    _with_consents(lambda kept: kept.give(tenant, [given], via="cli"), settings)
    print("added")


@app.command()
def withdraw(
    number: Number, what: What = "calls", tenant: Tenant = DEFAULT_TENANT, dev: Dev = False
) -> None:
    """Note that somebody takes it back, now; it counts for lists of leads as well."""
    settings = _settings(dev)
    wanted = _e164(number, settings)
    _with_consents(lambda kept: kept.withdraw(tenant, wanted, what, via="cli"), settings)
    print("withdrawn")


@app.command("import")
def import_agreements(
    file: Annotated[Path, typer.Argument(help="A list with the columns of consent.")],
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Keep the agreements of a file with the columns that a list of leads has."""
    from router.campaigns.consent import consents_of
    from router.campaigns.leads import MAX_BYTES, read_leads
    from router.records.consents import Given

    settings = _settings(dev)
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise NotThere(f"cannot read {file}: {exc.strerror}") from None
    table = read_leads(raw, settings.default_region)
    given = [
        Given(lead.phone, one) for _, lead in table.leads for one in consents_of(lead.variables)
    ]
    _with_consents(lambda kept: kept.give(tenant, given, via="csv"), settings)
    print(f"imported: {len(given)} agreements")
    if table.bad:
        print(f"{len(table.bad)} rows without a number", file=sys.stderr)


async def _all(kept: "Consents", tenant: str) -> "list[Agreement]":
    return [one for known in (await kept.by_number(tenant)).values() for one in known]


def _with_consents(work: Callable[["Consents"], Awaitable[T]], settings: "RouterSettings") -> T:
    from router.db import Store
    from router.records.consents import Consents

    async def run() -> T:
        store = await Store(settings.store_url()).open()
        try:
            return await work(Consents(store, clock=time.time))
        finally:
            await store.aclose()

    return asyncio.run(run())


def _settings(dev: bool) -> "RouterSettings":
    from router.settings import RouterSettings

    return RouterSettings.load(router_dev=dev or None)


def _e164(written: str, settings: "RouterSettings") -> str:
    from personas.phone import parse

    number = parse(written, settings.default_region)
    if number is None:
        raise typer.BadParameter("this is no number; write it as E.164, or set DEFAULT_REGION")
    return number.e164
