"""`replay`: what would be decided today on deliveries of the journal."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.exits import CheckFailed, NotThere, RemoteAway
from router.cli.journal import NO_SUCH, journal_of

if TYPE_CHECKING:
    from router.db import Store
    from router.records.entries import Entry
    from router.settings import RouterSettings

MOST = 100


def replay(
    delivery: Annotated[
        str, typer.Argument(metavar="[ID]", help="A delivery's number, EV_… id, or a call's id.")
    ] = "",
    failed: Annotated[
        bool, typer.Option("--failed", help="The calls that were never dispatched.")
    ] = False,
    last: Annotated[int, typer.Option(min=0, help="The last N deliveries of callers.")] = 0,
    redrive: Annotated[
        bool, typer.Option("--redrive", help="Send those of stuck calls to the router again.")
    ] = False,
    to: Annotated[str, typer.Option(help="The router's address; default: from settings.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Decide on past deliveries again, by today's configuration, and show what differs.

    Nothing is dispatched and no copy is changed, except that --redrive posts a freshly signed
    delivery of a call that is neither settled nor under way, and whose caller still waits.
    """
    from router.settings import RouterSettings

    if [bool(delivery), failed, bool(last)].count(True) != 1:
        raise typer.BadParameter("give one of ID, --failed, --last N")
    settings = RouterSettings.load(router_dev=dev or None)
    url = (to or f"http://{settings.host}:{settings.port}").rstrip("/") + "/livekit-webhook"
    rows, unsent = asyncio.run(
        _replay(settings, delivery, failed=failed, last=last, url=url if redrive else "")
    )
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        if not rows:
            print("there are none", file=sys.stderr)
        for row in rows:
            _print(row)
    if unsent:
        raise CheckFailed(f"{unsent} of {len(rows)} deliveries were refused by the router")


async def _replay(
    settings: "RouterSettings", delivery: str, *, failed: bool, last: int, url: str
) -> tuple[list[dict[str, Any]], int]:
    import structlog

    from router.replay import rehearsing, replay, trunks_of
    from router.services import livekit_from, plan_from

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    async with journal_of(settings) as store, livekit_from(settings) as livekit:
        entries = await _chosen(store, delivery, failed=failed, last=last)
        lookup = rehearsing(settings)
        try:
            replayed = await replay(entries, trunks_of(plan_from(settings), livekit), lookup)
        finally:
            await lookup.aclose()
        rows = [one.document() for one in replayed]
        unsent = await _redrive(settings, store, entries, rows, url) if url else 0
    return rows, unsent


async def _chosen(store: "Store", delivery: str, *, failed: bool, last: int) -> "Sequence[Entry]":
    from router.records.entries import failed_calls, last_calls, named

    if failed:
        return await failed_calls(store, MOST)
    entries = await (last_calls(store, last) if last else named(store, delivery))
    if not entries and delivery:
        raise NotThere(NO_SUCH)
    return entries


async def _redrive(
    settings: "RouterSettings",
    store: "Store",
    entries: "Sequence[Entry]",
    rows: list[dict[str, Any]],
    url: str,
) -> int:
    import httpx

    from router.replay import Redrive
    from router.services import livekit_from

    unsent = 0
    async with livekit_from(settings) as livekit, httpx.AsyncClient() as client:
        driver = Redrive(
            store=store,
            livekit=livekit,
            client=client,
            url=url,
            key=settings.livekit_api_key,
            secret=settings.livekit_api_secret.get_secret_value().encode(),
        )
        for entry, row in zip(entries, rows, strict=True):
            try:
                came = await driver.drive(entry)
            except httpx.HTTPError as exc:
                raise RemoteAway(
                    f"no router answered at {url} ({type(exc).__name__}); name another with --to"
                ) from exc
            row["redrive"] = {"outcome": came.outcome, "said": came.said}
            unsent += came.outcome == "refused"
    return unsent


def _print(row: dict[str, Any]) -> None:
    when = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"#{row['id']} {row['event'] or 'not verified'} of {when}, {row['verdict']}", end="")
    print(f", call {row['call_id']}" if row["call_id"] else "")
    for time in ("then", "now"):
        one = row[time]
        who = f" from {one['source']}, version {one['version'][:19]}…" if one["source"] else ""
        number = f" {one['number'] or 'an unknown number'}" if one["source"] else ""
        print(f"  {time:<8}{one['decision']}{number}{who}: {one['because']}")
    print(f"  changed {', '.join(row['changed']) or 'nothing'}")
    if "redrive" in row:
        print(f"  redrive {row['redrive']['said']}")


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(replay)
