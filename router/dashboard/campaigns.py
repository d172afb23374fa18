"""Campaigns: the list, one of them with its form, and what a launch would do."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from router.api.campaigns import (
    add_campaign,
    archive_campaign,
    change_campaign,
    copy_campaign,
    find_campaign,
)
from router.api.previews import look_ahead
from router.campaign_files import read_bytes
from router.campaigns.model import DAYS
from router.dashboard.campaign_form import RETRIED, TICKED, changes_of, fields_of
from router.dashboard.pages import Visit, to
from router.dashboard.runs import run_of, wish
from router.errors import CampaignRefused, RequestRefused

MAX_FORM_BYTES: Final = 1024 * 1024  # two texts of 60,000 characters, each up to nine bytes there
Text = Annotated[str, Field(max_length=200)]


class Which(BaseModel):
    """Which campaigns."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    archived: Literal["", "true"] = ""


class Launch(BaseModel):
    """The list that would be called, and the lead whose script is shown."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    list: Text = ""
    row: Annotated[int, Field(ge=1, le=1_000_000)] = 1


async def list_campaigns(visit: Visit) -> Response:
    """Show all, or those put away."""
    found = await visit.services.campaigns.list(visit.tenant)
    wanted = bool(visit.query.archived)
    return visit.render(
        "campaigns.html",
        rows=[one for one in found if one.archived is wanted],
        put_away=sum(one.archived for one in found),
        archived=wanted,
    )


async def show(visit: Visit) -> Response:
    """Show one."""
    return await _campaign(visit, visit.path("key"))


async def run(visit: Visit) -> Response:
    """Do with a campaign's run what its page was asked for."""
    key = visit.path("key")
    await find_campaign(visit, key)
    await wish(visit, key, visit.form.get("wish", ""), visit.form.get("list") or None)
    return _to(key)


async def create(visit: Visit) -> Response:
    """Make a campaign, to be filled in on its own page."""
    made = await add_campaign(visit, {"name": visit.form.get("name", "")})
    return _to(made.campaign.key)


async def import_file(visit: Visit) -> Response:
    """Make a campaign of a YAML file or of a prompt module, which is read and never run."""
    if visit.sent is None:
        raise RequestRefused("no_file", status=422, fix="choose a file")
    settings = visit.services.settings
    names = (settings.campaign_agent_name, settings.campaign_session_name)
    try:
        campaign = read_bytes(Path(visit.sent.name).name, visit.sent.raw, names)
    except CampaignRefused as exc:
        raise RequestRefused(exc.reason, status=422, fix=exc.fix) from None
    made = await add_campaign(visit, campaign.model_dump(mode="json"))
    return _to(made.campaign.key)


async def change(visit: Visit) -> Response:
    """Keep what the form says; where it cannot be kept, show it again with the reason."""
    key = visit.path("key")
    try:
        await change_campaign(visit, key, changes_of(visit.form))
    except RequestRefused as exc:
        page = replace(visit, title="Campaign")
        return await _campaign(page, key, problem=exc)
    return _to(key)


async def duplicate(visit: Visit) -> Response:
    """Copy it."""
    made = await copy_campaign(visit, visit.path("key"), visit.form.get("name", ""))
    return _to(made.campaign.key)


async def archive(visit: Visit) -> Response:
    """Put it away, or take it out again."""
    put_away = visit.form.get("archived") != "false"
    await archive_campaign(visit, visit.path("key"), archived=put_away)
    return to("/campaigns") if put_away else _to(visit.path("key"))


async def launch(visit: Visit) -> Response:
    """Show how many leads of a list would be called now, and why the others not."""
    asked: Launch = visit.query
    known = await find_campaign(visit, visit.path("key"))
    lists = await visit.services.leads.lists(visit.tenant)
    seen = None
    if lists:
        active = next((one.name for one in lists if one.active), lists[0].name)
        seen = await look_ahead(visit, known.campaign.key, asked.list or active, asked.row)
    return visit.render("launch.html", known=known, lists=lists, seen=seen)


async def _campaign(visit: Visit, key: str, problem: RequestRefused | None = None) -> Response:
    known = await find_campaign(visit, key)
    kept = fields_of(known.campaign)
    typed = visit.form if problem else kept
    return visit.render(
        "campaign.html",
        problem.status if problem else 200,
        known=known,
        one=known.campaign,
        fields={name: typed.get(name, "") for name in (*kept, *TICKED)},
        problem=problem,
        days=DAYS,
        retried=RETRIED,
        **await run_of(visit, known),
    )


def _to(key: str) -> Response:
    return to(f"/campaigns/{quote(key, safe='')}")
