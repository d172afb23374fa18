"""`calls …`: the records of calls. They read the database themselves."""

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from router.cli.exits import NotThere
from router.cli.kept import AsJson, settings_for, with_store
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.records.archive import Archive

T = TypeVar("T")
LONGEST: Final = 20  # of a persona's name

app = typer.Typer(help="Records of calls.", no_args_is_help=True)

Since = Annotated[datetime | None, typer.Option("--since", help="Begun then or later (UTC).")]
Until = Annotated[datetime | None, typer.Option("--until", help="Begun before then (UTC).")]
Clear = Annotated[bool, typer.Option("--clear", help="Print the numbers in full.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose calls.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command("list")
def list_calls(
    last: Annotated[int, typer.Option("--last", min=1, max=500, help="How many.")] = 20,
    since: Since = None,
    until: Until = None,
    clear: Clear = False,
    as_json: AsJson = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """List calls, the latest first; numbers are masked."""
    rows = _with_calls(lambda calls: _rows(calls, tenant, since, until, last), dev)
    shown = _shown(rows, clear=clear)
    if as_json:
        print(json.dumps(shown))
        return
    if not shown:
        print("there are none", file=sys.stderr)
    for row in shown:
        at = f"{datetime.fromtimestamp(row['started_at'], UTC):%Y-%m-%d %H:%M:%S}"
        state = "goes on" if row["ended_at"] is None else row["disposition"] or "ended"
        name = (row["persona_name"] or "-")[:LONGEST]
        ring = "-" if row["ring_ms"] is None else f"{row['ring_ms']:.0f} ms"
        print(
            f"{row['call_id']}  {at}  {row['direction']:<8} {row['dialed_number'] or '-':<17} "
            f"{name:<{LONGEST}} {ring:>9}  {state}"
        )


@app.command()
def show(
    call: Annotated[str, typer.Argument(help="Its id, as `calls list` shows it.")],
    clear: Clear = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Print one call as JSON: record, transcript, facts."""

    async def whole(calls: "Archive") -> dict[str, Any] | None:
        record = await calls.get(call, tenant)
        if record is None:
            return None
        return {
            "call": record.cells(),
            "transcript": [turn.model_dump() for turn in await calls.transcript(call)],
            "facts": [asdict(fact) for fact in await calls.facts_so_far(call)],
        }

    found = _with_calls(whole, dev)
    if found is None:
        raise NotThere("there is no such call; `persona-router calls list` shows them")
    print(json.dumps(_shown(found, clear=clear), ensure_ascii=False, indent=1))


@app.command()
def export(
    since: Since = None,
    until: Until = None,
    clear: Clear = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Print calls as CSV, the latest first; numbers are masked."""
    from router.api.tables import csv_of
    from router.records.archive import CallRecord

    rows = _with_calls(lambda calls: _rows(calls, tenant, since, until, None), dev)
    names = [field.name for field in fields(CallRecord)]
    print(csv_of(_shown(rows, clear=clear), names), end="")


async def _rows(
    calls: "Archive",
    tenant: str,
    since: datetime | None,
    until: datetime | None,
    last: int | None,
) -> Sequence[dict[str, Any]]:
    """Read the *last* of them, or all."""
    from router.records.archive import CallFilter
    from router.records.pages import MAX_PAGE

    which = CallFilter(tenant=tenant, since=_unix(since), until=_unix(until))
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await calls.page(which, cursor, last or MAX_PAGE)
        rows += [row.cells() for row in page.rows]
        cursor = page.next
        if last or cursor is None:
            return rows


def _shown(document: Any, *, clear: bool) -> Any:
    from router.api.masks import masked_record

    return document if clear else masked_record(document)


def _unix(at: datetime | None) -> float | None:
    return None if at is None else at.replace(tzinfo=UTC).timestamp()


def _with_calls(work: Callable[["Archive"], Awaitable[T]], dev: bool) -> T:
    from router.records.archive import Archive

    return with_store(settings_for(dev), lambda store: work(Archive(store)))
