"""`privacy …`: give out or erase what is kept of one person."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere
from router.cli.kept import settings_for, with_store

if TYPE_CHECKING:
    from router.db import Store
    from router.erasure import Erasure
    from router.records.people import Person
    from router.settings import RouterSettings

T = TypeVar("T")

app = typer.Typer(help="Give out or erase what is kept of one person.", no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="As E.164, or as in DEFAULT_REGION; or an e-mail.")]
Tenant = Annotated[str, typer.Option("--tenant", help="In these records alone; default: in all.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command()
def export(number: Number, tenant: Tenant = "", dev: Dev = False) -> None:
    """Print all that is kept of a person, as JSON."""
    settings = settings_for(dev)
    person = _person(number, tenant, settings)
    found = _with_erasure(lambda erasure: erasure.export(person), settings)
    if not any(found.values()):
        raise NotThere("nothing is kept of this person")
    print(json.dumps(found, ensure_ascii=False, indent=1, default=str))


@app.command()
def erase(
    number: Number,
    spool: Annotated[
        Path | None,
        typer.Option("--spool", help="REPORT_SPOOL_DIR of an agent on this machine."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    tenant: Tenant = "",
    dev: Dev = False,
) -> None:
    """Erase a person; their wish not to be called stays."""
    settings = settings_for(dev)
    person = _person(number, tenant, settings)
    if not yes:
        typer.confirm("This cannot be undone. Erase?", abort=True, err=True)
    counts = _with_erasure(lambda erasure: erasure.erase(person), settings, spool)
    print(json.dumps(counts))
    print("backups and exports that were made before are yours to look after", file=sys.stderr)


def _person(written: str, tenant: str, settings: "RouterSettings") -> "Person":
    from personas.phone import parse
    from router.records.people import Person

    if "@" in written:
        return Person(None, written, tenant or None)
    number = parse(written, settings.default_region)
    if number is None:
        raise typer.BadParameter("this is no number; write it as E.164, or set DEFAULT_REGION")
    return Person(number, None, tenant or None)


def _with_erasure(
    work: Callable[["Erasure"], Awaitable[T]],
    settings: "RouterSettings",
    spool: Path | None = None,
) -> T:
    from router.erasure import Erasure
    from router.metrics import Metrics
    from router.records.people import People
    from router.services import lookup_from

    async def run(store: "Store") -> T:
        lookup = lookup_from(settings, Metrics())
        try:
            people = People(store, clock=time.time)
            copies = settings.state_dir / "last-known-good"
            return await work(Erasure(people=people, lookup=lookup, copies=copies, spool=spool))
        finally:
            await lookup.aclose()

    return with_store(settings, run)
