"""Campaigns: list, make, change, duplicate, archive; and as older clients call them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from router.api.endpoints import Ask, Asking, note, whole_list
from router.campaigns.model import KEY, Campaign, CampaignFields, read_campaign
from router.errors import CampaignRefused, RequestRefused
from router.records.campaigns import KnownCampaign

_STATUS = {"key_taken": 409, "read_only": 409}
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)
_CSV_COLUMNS = (
    "key",
    "name",
    "origin",
    "archived",
    "changed_at",
    "trunk_id",
    "caller_number",
    "concurrency",
    "calls_per_second",
    "consent",
    "budget_calls",
    "auto_next",
    "tools",
)
Key = Annotated[str, Field(pattern=KEY)]


class NewCampaign(CampaignFields):
    """A campaign to make; its key comes from its name if it is left out."""

    key: Key | None = None


class Changes(BaseModel):
    """The fields of a campaign that shall be others."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


class Copy(BaseModel):
    """What the copy is called."""

    model_config = _STRICT
    name: Annotated[str, Field(min_length=1, max_length=100)]


class Archived(BaseModel):
    """Whether it is put away."""

    model_config = _STRICT
    archived: bool = True


class CampaignShown(Campaign):
    """A campaign, and where it is."""

    origin: Literal["builtin", "file", "made"]
    changed_at: float | None
    archived: bool


class CampaignsShown(BaseModel):
    """All of the tenant."""

    items: list[CampaignShown]


class LegacyCampaign(BaseModel):
    """A campaign as older clients know it."""

    name: str
    module: str
    builtin: bool = False
    key: str = ""


class LegacyList(BaseModel):
    """Campaigns that cannot be changed here, and those that can."""

    ok: bool
    builtin: list[LegacyCampaign]
    custom: list[LegacyCampaign]


class LegacyNew(BaseModel):
    """A campaign to make."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    name: Annotated[str, Field(min_length=1, max_length=100)]
    agent_text: str = ""
    session_text: str = ""
    module: str = ""


class LegacyChange(BaseModel):
    """What shall be otherwise."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    module: Annotated[str, Field(min_length=1, max_length=200)]
    name: str | None = None
    agent_text: str | None = None
    session_text: str | None = None


class LegacyDone(BaseModel):
    """It is done."""

    ok: bool
    name: str
    module: str
    key: str


async def list_campaigns(ask: Ask) -> Response:
    """List campaigns."""
    listed = [_shown(one) for one in await ask.services.campaigns.list(ask.tenant)]
    return whole_list(ask, listed, _CSV_COLUMNS)


async def add(ask: Ask) -> Response:
    """Make a campaign."""
    wanted = ask.body.model_dump(mode="json", exclude_none=True)
    return JSONResponse(_shown(await add_campaign(ask, wanted)), 201)


async def change(ask: Ask) -> Response:
    """Change what is given; it holds from the next lead on."""
    known = await change_campaign(ask, ask.path("key"), ask.body.model_dump())
    return JSONResponse(_shown(known))


async def duplicate(ask: Ask) -> Response:
    """Copy a campaign under another name."""
    return JSONResponse(_shown(await copy_campaign(ask, ask.path("key"), ask.body.name)), 201)


async def archive(ask: Ask) -> Response:
    """Put a campaign away."""
    await archive_campaign(ask, ask.path("key"), archived=ask.body.archived)
    return Response(status_code=204)


async def legacy_list(ask: Ask) -> Response:
    """List campaigns as older clients know them."""
    listed = [one for one in await ask.services.campaigns.list(ask.tenant) if not one.archived]
    builtin = [
        {
            "name": one.campaign.name,
            "module": one.campaign.module,
            "builtin": True,
            "key": one.campaign.key,
        }
        for one in listed
        if one.origin != "made"
    ]
    custom = [
        {"name": one.campaign.name, "module": one.campaign.module}
        for one in listed
        if one.origin == "made"
    ]
    return JSONResponse({"ok": True, "builtin": builtin, "custom": custom})


async def legacy_create(ask: Ask) -> Response:
    """Make a campaign."""
    wanted = ask.body.model_dump()
    await _module_is_free(ask, wanted["module"])
    return _legacy(await add_campaign(ask, wanted))


async def legacy_update(ask: Ask) -> Response:
    """Change the campaign of a module."""
    listed = await ask.services.campaigns.list(ask.tenant)
    found = [one.campaign.key for one in listed if one.campaign.module == ask.body.module]
    if not found:
        raise _no_such_campaign()
    changes = ask.body.model_dump(exclude={"module"}, exclude_none=True)
    return _legacy(await change_campaign(ask, found[0], changes))


async def _module_is_free(ask: Ask, module: str) -> None:
    listed = await ask.services.campaigns.list(ask.tenant)
    if module and any(one.campaign.module == module for one in listed):
        fix = "there is a campaign of this module; update that one"
        raise RequestRefused("module_taken", status=409, fix=fix)


async def find_campaign(asking: Asking, key: str) -> KnownCampaign:
    """Find one by its key; raises RequestRefused: 404."""
    known = await asking.services.campaigns.find(asking.tenant, key)
    if known is None:
        raise _no_such_campaign()
    return known


async def add_campaign(asking: Asking, document: dict[str, Any]) -> KnownCampaign:
    """Keep a new campaign; raises RequestRefused: 409 or 422."""
    try:
        known = await asking.services.campaigns.add(asking.tenant, read_campaign(document))
    except CampaignRefused as exc:
        raise _refused(exc) from None
    await note(asking, "campaign.added", known.campaign.key)
    return known


async def change_campaign(asking: Asking, key: str, changes: dict[str, Any]) -> KnownCampaign:
    """Change what is given; raises RequestRefused: 404, 409 or 422."""
    try:
        known = await asking.services.campaigns.change(asking.tenant, key, changes)
    except CampaignRefused as exc:
        raise _refused(exc) from None
    if known is None:
        raise _no_such_campaign()
    await note(asking, "campaign.changed", f"{key}: {','.join(sorted(changes))}")
    return known


async def copy_campaign(asking: Asking, key: str, name: str) -> KnownCampaign:
    """Copy a campaign under another name; raises RequestRefused: 404, 409 or 422."""
    original = await find_campaign(asking, key)
    document = original.campaign.model_dump(mode="json", exclude={"key", "module"})
    return await add_campaign(asking, {**document, "name": name})


async def archive_campaign(asking: Asking, key: str, *, archived: bool) -> None:
    """Put a campaign away, or take it out again; raises RequestRefused: 404."""
    if not await asking.services.campaigns.archive(asking.tenant, key, archived=archived):
        raise _no_such_campaign()
    await note(asking, "campaign.archived" if archived else "campaign.restored", key)


def _refused(exc: CampaignRefused) -> RequestRefused:
    return RequestRefused(exc.reason, status=_STATUS.get(exc.reason, 422), fix=exc.fix)


def _no_such_campaign() -> RequestRefused:
    return RequestRefused("no_such_campaign", status=404, fix="GET /api/campaigns lists them")


def _shown(known: KnownCampaign) -> dict[str, Any]:
    return {
        **known.campaign.model_dump(mode="json"),
        "origin": known.origin,
        "changed_at": known.changed_at,
        "archived": known.archived,
    }


def _legacy(known: KnownCampaign) -> Response:
    one = known.campaign
    return JSONResponse({"ok": True, "name": one.name, "module": one.module, "key": one.key})
