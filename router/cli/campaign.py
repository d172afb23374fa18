"""`campaign …`: look at campaigns, check their files, keep one."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import FAILED, OK_MARK, CheckFailed, NotThere
from router.cli.kept import settings_for, with_store
from router.errors import CampaignRefused
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from router.campaigns.gate import GateInputs, GateVerdict
    from router.campaigns.progress import Wish
    from router.db import Store
    from router.engine import RunStatus
    from router.records.campaigns import Campaigns, KnownCampaign
    from router.records.leads import LeadList, Leads
    from router.settings import RouterSettings

T = TypeVar("T")

app = typer.Typer(help="Campaigns: what is said to whom, when and how fast.", no_args_is_help=True)

Tenant = Annotated[str, typer.Option("--tenant", help="Whose campaigns.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]
Key = Annotated[str, typer.Argument(help="Its key, as `campaign list` shows it.")]


@app.command("list")
def list_campaigns(
    tenant: Tenant = DEFAULT_TENANT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Dev = False,
) -> None:
    """List campaigns; those in files that cannot be read are named."""
    from router.campaign_files import read_files

    settings = settings_for(dev)
    listed = _with_campaigns(settings, lambda campaigns: campaigns.list(tenant))
    for one in read_files(settings)[1]:
        print(f"{FAILED} {one.file}: {one.why}", file=sys.stderr)
    if as_json:
        print(json.dumps([one.campaign.model_dump(mode="json") for one in listed]))
        return
    for known in listed:
        state = "archived" if known.archived else known.origin
        print(f"{known.campaign.key:<30} {state:<9} {known.campaign.name}")


@app.command()
def show(key: Key, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Print a campaign as YAML, as a file of CAMPAIGNS_DIR has it."""
    import yaml

    known = _with_campaigns(settings_for(dev), lambda campaigns: campaigns.find(tenant, key))
    if known is None:
        raise _no_such_campaign()
    document = known.campaign.model_dump(mode="json")
    print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")


@app.command()
def lint(
    files: Annotated[list[Path], typer.Argument(help="Campaigns as YAML, or prompt modules.")],
    dev: Dev = False,
) -> None:
    """Check campaign files; a Python module is read and never run."""
    from router.campaign_files import read_file

    settings, failed = settings_for(dev), 0
    for file in files:
        try:
            read_file(file, (settings.campaign_agent_name, settings.campaign_session_name))
        except CampaignRefused as exc:
            failed += 1
            print(f"{FAILED} {file}: {exc.fix}")
        else:
            print(f"{OK_MARK} {file}")
    if failed:
        raise CheckFailed(f"{failed} of {len(files)} cannot be used")


@app.command("import")
def import_campaign(
    file: Annotated[Path, typer.Argument(help="A campaign as YAML, or a prompt module.")],
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Keep a campaign, so that it can be changed; a Python module is read and never run."""
    from router.campaign_files import read_file

    settings = settings_for(dev)
    names = (settings.campaign_agent_name, settings.campaign_session_name)
    campaign = read_file(file, names)
    _with_campaigns(settings, lambda campaigns: campaigns.add(tenant, campaign))
    print(f"imported: {campaign.key}")


@app.command()
def check(
    number: Annotated[str, typer.Argument(help="A phone number.")],
    key: Annotated[str, typer.Option("--campaign", help="The campaign that would call.")],
    at: Annotated[str, typer.Option("--at", help="ISO 8601; default: now.")] = "",
    lead_list: Annotated[str, typer.Option("--list", help="Take what it says of the number.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Ask the gate whether a campaign may call a number, and why; it never dials."""
    from personas.phone import parse
    from router.campaigns.gate import decide
    from router.campaigns.leads import Lead
    from router.campaigns.policies import shipped
    from router.cli import dialing
    from router.records.gate_inputs import gather_many, standing_of

    settings, now = settings_for(dev), _time(at)
    parsed = parse(number, settings.default_region)
    if parsed is None:
        raise CheckFailed("not allowed: not_a_number")

    async def ask(store: "Store") -> "GateVerdict":
        known = await _find(store, settings, tenant, key)
        lead = Lead(phone=parsed.e164)
        if lead_list:
            leads, found = await _leads(store, settings, tenant, lead_list)
            stored = await leads.of_number(found, lead.phone)
            lead = stored.lead if stored else lead
        own = await dialing.own_numbers(settings) | {known.campaign.caller_number} - {""}

        def read(connection: "Connection") -> "GateInputs":
            (inputs,) = gather_many(
                connection,
                [lead],
                known,
                now,
                tenant=tenant,
                own_numbers=own,
                stands=standing_of(connection, known, now, tenant=tenant),
            )
            return inputs

        return decide(await store.read(read), shipped())

    verdict = _with_store(settings, ask)
    if as_json:
        print(json.dumps(asdict(verdict)))
    else:
        for name, value in verdict.inputs.items():
            print(f"{name:<15} {value}")
        if verdict.next_at is not None:
            print(f"{'next slot':<15} {_moment(verdict.next_at)}")
    if not verdict.allowed:
        raise CheckFailed(f"not allowed: {verdict.because}")
    print("allowed", file=sys.stderr)


@app.command("run")
def run_campaign(
    key: Key,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    lead_list: Annotated[str, typer.Option("--list", help="Default: the active one.")] = "",
    row: Annotated[int, typer.Option("--row", min=1, help="The lead whose script is shown.")] = 1,
    at: Annotated[str, typer.Option("--at", help="Begin then, ISO 8601; default: now.")] = "",
    first: Annotated[int, typer.Option("--from", min=1, help="Begin with this lead.")] = 1,
    lead: Annotated[
        int, typer.Option("--lead", min=0, help="Call this one alone; also RUN_SINGLE_CALL.")
    ] = 0,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Have the routers call a list of leads, and show how far they are; --dry-run never dials."""
    from router.cli import dialing

    settings = settings_for(dev)
    if dry_run:
        _preview(settings, tenant, key, lead_list or None, row, _time(at))
        return
    alone = lead or (settings.lead_index if settings.run_single_call else 0)

    async def run(desk: dialing.Desk) -> "RunStatus":
        known = await _find(desk.store, settings, tenant, key)
        if known.archived:
            raise CheckFailed("the campaign is put away")
        await dialing.start(
            desk,
            tenant,
            key,
            list_name=lead_list or None,
            position=alone or first,
            mode="one" if alone else "all",
            at=_time(at) if at else 0.0,
        )
        if detach:
            return await desk.status(tenant, key)
        return await dialing.follow(desk, tenant, key)

    found = dialing.with_desk(settings, run)
    print(dialing.as_json(found) if as_json else dialing.as_text(found))


@app.command()
def pause(key: Key, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Call nobody from now on; calls that go on do."""
    _wish(dev, tenant, key, "pause")


@app.command()
def resume(key: Key, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Go on calling."""
    _wish(dev, tenant, key, "resume")


@app.command()
def stop(
    key: Key,
    now: Annotated[bool, typer.Option("--now", help="Hang up the calls that go on.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """End a run after the calls that go on, or with them."""
    _wish(dev, tenant, key, "stop", now=now)


@app.command()
def status(
    key: Key,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Say how a campaign's run stands: leads, results, who is being called, what is uncertain."""
    from router.cli import dialing

    settings = settings_for(dev)
    found = dialing.with_desk(settings, lambda desk: desk.status(tenant, key))
    if found.state == "idle" and not _with_campaigns(settings, lambda c: c.find(tenant, key)):
        raise _no_such_campaign()
    print(dialing.as_json(found) if as_json else dialing.as_text(found))


def _wish(dev: bool, tenant: str, key: str, wanted: "Wish", *, now: bool = False) -> None:
    from router.cli import dialing

    async def tell(desk: dialing.Desk) -> "RunStatus":
        await dialing.wish(desk, tenant, key, wanted, now=now)
        return await desk.status(tenant, key)

    print(dialing.with_desk(settings_for(dev), tell).state)


def _preview(
    settings: "RouterSettings", tenant: str, key: str, list_name: str | None, row: int, now: float
) -> None:
    from personas.sources.files import FilePersonaSource, house
    from router.campaigns.preview import sentence
    from router.cli import dialing
    from router.dialer import first_words
    from router.launch import Launch, counted

    files = FilePersonaSource(settings.persona_dir) if settings.persona_dir else None

    async def look(store: "Store") -> tuple[str, str, float]:
        known = await _find(store, settings, tenant, key)
        leads, listed = await _leads(store, settings, tenant, list_name)
        lead = await leads.at(listed.id, row)
        if lead is None:
            raise NotThere(f"the list has {listed.leads} leads")
        own = await dialing.own_numbers(settings)
        launch = Launch(tenant=tenant, known=known, leads=listed, own_numbers=own)
        found = [one async for one in counted(store, launch, now)][-1]
        slot = _moment(found.next_at) if found.next_at is not None else ""
        base = await asyncio.to_thread(house, settings.persona_dir)
        greeting = await first_words(known.campaign, lead.lead, base, files)
        return sentence(found, listed.leads, listed.bad, slot), greeting, found.lasts_s

    summary, greeting, lasts_s = _with_store(settings, look)
    print(summary)
    print(f"lead {row}: {greeting}")
    print(f"those now: about {lasts_s / 60:,.0f} min")


async def _find(
    store: "Store", settings: "RouterSettings", tenant: str, key: str
) -> "KnownCampaign":
    known = await _campaigns(store, settings).find(tenant, key)
    if known is None:
        raise _no_such_campaign()
    return known


async def _leads(
    store: "Store", settings: "RouterSettings", tenant: str, name: str | None
) -> tuple["Leads", "LeadList"]:
    from router.lead_files import read_lead_files
    from router.records.leads import Leads

    leads = Leads(store, clock=time.time, region=settings.default_region)
    await read_lead_files(leads, settings.leads_csv_path, settings.leads_csv_dir)
    found = await leads.find(tenant, name)
    if found is None:
        raise NotThere("there is no such list, or none is active; see `persona-router leads list`")
    return leads, found


def _time(at: str) -> float:
    if not at:
        return time.time()
    try:
        return datetime.fromisoformat(at).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise typer.BadParameter("write the time as 2026-11-21T14:00:00+01:00") from None


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M %z}"


def _no_such_campaign() -> NotThere:
    return NotThere("there is no such campaign; `persona-router campaign list` shows them")


def _with_campaigns(settings: "RouterSettings", work: Callable[["Campaigns"], Awaitable[T]]) -> T:
    return _with_store(settings, lambda store: work(_campaigns(store, settings)))


def _campaigns(store: "Store", settings: "RouterSettings") -> "Campaigns":
    from router.campaign_files import read_files
    from router.records.campaigns import Campaigns

    return Campaigns(store, clock=time.time, files=lambda: read_files(settings)[0])


def _with_store(settings: "RouterSettings", work: Callable[["Store"], Awaitable[T]]) -> T:
    from personas import logs

    logs.configure(log_format="console", level="WARNING")
    return with_store(settings, work)
