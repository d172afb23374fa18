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
from router.errors import CampaignRefused
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.campaigns.gate import GateVerdict
    from router.campaigns.leads import Lead
    from router.db import Store
    from router.records.campaigns import Campaigns, KnownCampaign
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

    settings = _settings(dev)
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

    known = _with_campaigns(_settings(dev), lambda campaigns: campaigns.find(tenant, key))
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

    settings, failed = _settings(dev), 0
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

    settings = _settings(dev)
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
    from router.campaigns.preview import inputs_of
    from router.launch import knowledge_of

    settings, now = _settings(dev), _time(at)
    parsed = parse(number, settings.default_region)
    if parsed is None:
        raise CheckFailed("not allowed: not_a_number")

    async def ask(store: "Store") -> "GateVerdict":
        known = await _find(store, settings, tenant, key)
        lead = Lead(phone=parsed.e164)
        if lead_list:
            _, leads = await _leads(store, settings, tenant, lead_list)
            lead = next((one for one in leads if one.phone == lead.phone), lead)
        knowledge = await knowledge_of(store, settings, tenant, known, now)
        return decide(inputs_of(lead, known.campaign, knowledge, now), shipped())

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
    at: Annotated[str, typer.Option("--at", help="ISO 8601; default: now.")] = "",
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Say what a campaign would do with a list of leads: how many it may call now, and why not."""
    from router.campaigns.policies import shipped
    from router.campaigns.preview import preview, sentence
    from router.campaigns.script import rendered
    from router.launch import knowledge_of

    if not dry_run:
        raise typer.BadParameter("this version only previews; add --dry-run")
    settings, now = _settings(dev), _time(at)

    async def look(store: "Store") -> tuple[str, str]:
        known = await _find(store, settings, tenant, key)
        bad, leads = await _leads(store, settings, tenant, lead_list or None)
        knowledge = await knowledge_of(store, settings, tenant, known, now)
        found = preview(leads, known.campaign, knowledge, shipped(), now)
        if row > len(leads):
            raise NotThere(f"the list has {len(leads)} leads")
        slot = _moment(found.next_at) if found.next_at is not None else ""
        return sentence(found, bad, slot), rendered(known.campaign.session_text, leads[row - 1])

    summary, script = _with_store(settings, look)
    print(summary)
    print(f"lead {row}: {script}")


async def _find(
    store: "Store", settings: "RouterSettings", tenant: str, key: str
) -> "KnownCampaign":
    known = await _campaigns(store, settings).find(tenant, key)
    if known is None:
        raise _no_such_campaign()
    return known


async def _leads(
    store: "Store", settings: "RouterSettings", tenant: str, name: str | None
) -> tuple[int, "list[Lead]"]:
    from router.lead_files import read_lead_files
    from router.records.leads import Leads

    leads = Leads(store, clock=time.time, region=settings.default_region)
    await read_lead_files(leads, settings.leads_csv_path, settings.leads_csv_dir)
    found = await leads.find(tenant, name)
    if found is None:
        raise NotThere("there is no such list, or none is active; see `persona-router leads list`")
    return found.bad, [one.lead for one in await leads.all(found)]


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


def _settings(dev: bool) -> "RouterSettings":
    from router.settings import RouterSettings

    return RouterSettings.load(router_dev=dev or None)


def _with_campaigns(settings: "RouterSettings", work: Callable[["Campaigns"], Awaitable[T]]) -> T:
    return _with_store(settings, lambda store: work(_campaigns(store, settings)))


def _campaigns(store: "Store", settings: "RouterSettings") -> "Campaigns":
    from router.campaign_files import read_files
    from router.records.campaigns import Campaigns

    return Campaigns(store, clock=time.time, files=lambda: read_files(settings)[0])


def _with_store(settings: "RouterSettings", work: Callable[["Store"], Awaitable[T]]) -> T:
    from personas import logs
    from router.db import Store

    logs.configure(log_format="console", level="WARNING")

    async def run() -> T:
        store = await Store(settings.store_url()).open()
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())
