"""`campaign …`: look at campaigns, check their files, keep one."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import FAILED, OK_MARK, CheckFailed, NotThere
from router.errors import CampaignRefused
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.db import Store
    from router.records.campaigns import Campaigns
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
        raise NotThere("there is no such campaign; `persona-router campaign list` shows them")
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


def _settings(dev: bool) -> "RouterSettings":
    from router.settings import RouterSettings

    return RouterSettings.load(router_dev=dev or None)


def _with_campaigns(settings: "RouterSettings", work: Callable[["Campaigns"], Awaitable[T]]) -> T:
    from router.campaign_files import read_files
    from router.records.campaigns import Campaigns

    async def with_store(store: "Store") -> T:
        files = lambda: read_files(settings)[0]  # noqa: E731
        return await work(Campaigns(store, clock=time.time, files=files))

    return _with_store(settings, with_store)


def _with_store(settings: "RouterSettings", work: Callable[["Store"], Awaitable[T]]) -> T:
    from router.db import Store

    async def run() -> T:
        store = await Store(settings.store_url()).open()
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())
