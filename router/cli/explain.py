"""`explain`: who would answer a number, and why; or where the ring time of a call went.

NUMBER goes through the live code path, without a dispatch.
"""

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.exits import NotThere
from router.cli.journal import NO_SUCH, journal_of

if TYPE_CHECKING:
    from personas.sources.faults import Fault
    from router.settings import RouterSettings


def explain(
    number: Annotated[
        str, typer.Argument(metavar="[NUMBER]", help="The dialed number, as the trunk gives it.")
    ] = "",
    caller: Annotated[str, typer.Option("--from", help="The caller's number.")] = "",
    trunk: Annotated[str, typer.Option(help="The trunk's id, ST_….")] = "",
    at: Annotated[
        str, typer.Option(help="As if it were this time: 2026-11-21T09:00, with +01:00 or Z.")
    ] = "",
    fault: Annotated[
        str,
        typer.Option(help="As if the persona API failed: timeout, 500, badjson, slow=3s, stale."),
    ] = "",
    call: Annotated[
        str, typer.Option("--call", metavar="ID", help="Show the stages of this call instead.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Say which persona answers NUMBER now, from which source, and why.

    No call is made and no copy is changed. With --at, copies on disk are as old as they will be
    then. With --call, say where the ring time of a past call went.
    """
    from router.settings import RouterSettings

    if bool(number) == bool(call):
        raise typer.BadParameter("give either NUMBER or --call ID")
    moment = _moment(at) if at else None
    settings = RouterSettings.load(router_dev=dev or None)
    if call:
        found = asyncio.run(_trace(settings, call))
        print(json.dumps(found)) if as_json else _print_trace(found)
        return
    failing = _fault(fault, settings) if fault else None
    chain = asyncio.run(_explain(settings, number, caller, trunk, moment, failing))
    if as_json:
        print(json.dumps(chain, ensure_ascii=False))
        return
    _print(chain)


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()  # without a zone: this machine's
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter("--at is a time such as 2026-11-21T09:00:00+01:00") from exc


def _fault(text: str, settings: "RouterSettings") -> "Fault":
    from personas.sources.faults import FAULTS, read_fault

    fault = read_fault(text)
    if fault is None:
        raise typer.BadParameter(f"--fault is one of {FAULTS}")
    if settings.api_base() is None:
        raise typer.BadParameter("--fault needs a persona API, and PERSONA_API_BASE is off")
    return fault


async def _explain(
    settings: "RouterSettings",
    number: str,
    caller: str,
    trunk: str,
    moment: float | None,
    fault: "Fault | None",
) -> dict[str, Any]:
    import structlog

    from router.rehearsals import who_answers

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    return await who_answers(
        settings, number, caller=caller, trunk_id=trunk, fault=fault, at=moment
    )


def _print(chain: dict[str, Any]) -> None:
    if chain["decision"] != "answer":
        print(f"No agent is sent: {chain['because']}")
        return
    number = chain["dialed_number"] or "unknown"
    print(f"dialed    {chain['dialed_as'] or '(hidden)'} → {number}")
    for step in chain["steps"]:
        print(f"asked     {step['source']}: {step['outcome']} ({step['ms']:.1f} ms)")
    print(f"persona   {chain['persona'] or '(no name)'}, version {chain['version'][:19]}…")
    print(f"origin    {chain['source']}, {chain['age_s']:.0f} s old")
    print(f"because   {chain['because']}")
    print(f"agent     {chain['agent']} would be dispatched with this persona as its metadata")


async def _trace(settings: "RouterSettings", call_id: str) -> dict[str, Any]:
    from router.records.trace import trace_of

    async with journal_of(settings) as store:
        found = await trace_of(store, call_id)
    if found is None:
        raise NotThere(NO_SUCH)
    return found.document()


def _print_trace(found: dict[str, Any]) -> None:
    print(f"call      {found['call_id']}, {found['state']}, attempts: {found['attempts']}")
    print(f"became    {found['verdict']}, after {found['deliveries']} deliveries")
    print(f"because   {found['because']}")
    if found["source"]:
        print(f"persona   from {found['source']}, version {found['version'][:19]}…")
    started = next((stage["at"] for stage in found["stages"] if stage["at"]), 0.0)
    for stage in found["stages"]:
        known = stage["at"] is not None
        at = f"{(stage['at'] - started) * 1000:>8.0f} ms" if known else f"{'unknown':>11}"
        took = f"{stage['ms']:>+9.1f}" if stage["ms"] is not None else " " * 9
        print(f"{at}  {took}  {stage['name']:<16}{stage['note']}".rstrip())
    if found["slowest"]:
        print(f"slowest   {found['slowest']}")
    for one in found["watch"]:
        since = f"{one['at'] - started:.1f} s" if started else "unknown"
        print(f"watch     {since}: {one['action']}, attempt {one['attempt']}: {one['because']}")


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(explain)
