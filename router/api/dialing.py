"""Have leads called: start, pause, resume, stop, and how it stands; and as older clients do it."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from router.api.campaigns import find_campaign
from router.api.endpoints import Ask, Asking, note
from router.campaigns.progress import Mode
from router.engine import RunStatus
from router.errors import RequestRefused, RunRefused
from router.records.attempts import Attempt
from router.records.campaigns import KnownCampaign

_STATUS = {
    "no_such_campaign": 404,
    "no_list": 404,
    "no_lead": 404,
    "archived": 409,
    "not_idle": 409,
    "not_possible": 409,
}
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)
_LENIENT = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Start(BaseModel):
    """What to call."""

    model_config = _STRICT
    list: Annotated[str | None, Field(max_length=100, description="null: the active one")] = None
    position: Annotated[int | None, Field(ge=1, description="the first lead, from 1")] = None
    mode: Annotated[
        Mode, Field(description="all; one: that lead alone; next: one after another")
    ] = "all"
    not_before: Annotated[
        float, Field(ge=0, le=1e11, description="Unix seconds; 0: begin at once")
    ] = 0.0


class Stop(BaseModel):
    """How to stop."""

    model_config = _STRICT
    now: Annotated[bool, Field(description="hang up the calls that go on")] = False


class AttemptShown(BaseModel):
    """One call that was made, or was not allowed; its number is not told."""

    attempt_id: str
    campaign: str
    lead: int | None
    state: str
    disposition: str | None
    because: str
    claimed_at: float
    dialed_at: float | None
    answered_at: float | None
    ended_at: float | None


class RunShown(BaseModel):
    """How a campaign's run stands; times are Unix seconds."""

    campaign: str
    state: str
    because: str
    list_name: str | None
    leads: int
    position: int
    waiting: int
    waiting_until: float | None
    counts: dict[str, int]
    pace: float
    tripped: str
    current: list[AttemptShown]


class LegacyStart(BaseModel):
    """A lead by its index (from 1) or id, and the campaign by key, module or name."""

    model_config = _LENIENT
    lead: Annotated[
        str | int | None,
        Field(validation_alias=AliasChoices("index", "lead_index", "lead", "id", "lead_id")),
    ] = None
    campaign: Annotated[
        str, Field(max_length=200, validation_alias=AliasChoices("campaign", "module", "key"))
    ] = ""


class LegacyStop(BaseModel):
    """Older clients say nothing."""

    model_config = _LENIENT
    now: Annotated[bool, Field(description="false: after the call that goes on")] = True


class LegacyStatus(BaseModel):
    """How it stands, as older clients know it."""

    ok: bool
    status: Literal["idle", "running", "stopping"]
    state: str
    campaign: str
    module: str
    lead: dict[str, Any] | None
    lead_index: int | None
    attempt_id: str | None
    because: str


async def start(ask: Ask) -> Response:
    """Begin a run."""
    wanted = ask.body
    found = await start_campaign(
        ask,
        ask.path("key"),
        list_name=wanted.list,
        position=wanted.position,
        mode=wanted.mode,
        at=wanted.not_before,
    )
    return JSONResponse(_shown(found))


async def pause(ask: Ask) -> Response:
    """Call nobody from now on."""
    key = (await find_campaign(ask, ask.path("key"))).campaign.key
    return JSONResponse(_shown(await pause_campaign(ask, key)))


async def resume(ask: Ask) -> Response:
    """Go on."""
    key = (await find_campaign(ask, ask.path("key"))).campaign.key
    return JSONResponse(_shown(await resume_campaign(ask, key)))


async def stop(ask: Ask) -> Response:
    """End the run."""
    key = (await find_campaign(ask, ask.path("key"))).campaign.key
    return JSONResponse(_shown(await stop_campaign(ask, key, now=ask.body.now)))


async def status(ask: Ask) -> Response:
    """Say how it stands."""
    key = (await find_campaign(ask, ask.path("key"))).campaign.key
    return JSONResponse(_shown(await ask.services.engine.status(key, tenant=ask.tenant)))


async def legacy_status(ask: Ask) -> Response:
    """Say how it stands."""
    return JSONResponse(await _legacy(ask))


async def legacy_start(ask: Ask) -> Response:
    """Call one lead, and those behind it one after another if the campaign says ``auto_next``."""
    known = await _named(ask, ask.body.campaign)
    position = await _position(ask, ask.body.lead, known.campaign.key)
    mode: Mode = "next" if known.campaign.auto_next else "one"
    await start_campaign(ask, known.campaign.key, position=position, mode=mode)
    return JSONResponse(await _legacy(ask))


async def legacy_stop(ask: Ask) -> Response:
    """End the call that goes on, and call nobody after it."""
    run = await ask.services.engine.latest(ask.tenant)
    if run is not None:
        await stop_campaign(ask, run.campaign, now=ask.body.now)
    return JSONResponse(await _legacy(ask))


async def start_campaign(
    asking: Asking,
    key: str,
    *,
    list_name: str | None = None,
    position: int | None = None,
    mode: Mode = "all",
    at: float = 0.0,
) -> RunStatus:
    """Begin a run; raises RequestRefused: 404 or 409."""
    who = asking.principal.who if asking.principal else ""
    try:
        found = await asking.services.engine.start(
            key,
            tenant=asking.tenant,
            list_name=list_name,
            mode=mode,
            position=position,
            by=who,
            at=at,
        )
    except RunRefused as exc:
        raise _refused(exc) from None
    await note(asking, "campaign.started", f"{key}: {mode}")
    return found


async def pause_campaign(asking: Asking, key: str) -> RunStatus:
    """Have a run call nobody from now on; raises RequestRefused: 409."""
    try:
        found = await asking.services.engine.pause(key, tenant=asking.tenant)
    except RunRefused as exc:
        raise _refused(exc) from None
    await note(asking, "campaign.paused", key)
    return found


async def resume_campaign(asking: Asking, key: str) -> RunStatus:
    """Have a run go on; raises RequestRefused: 409."""
    try:
        found = await asking.services.engine.resume(key, tenant=asking.tenant)
    except RunRefused as exc:
        raise _refused(exc) from None
    await note(asking, "campaign.resumed", key)
    return found


async def stop_campaign(asking: Asking, key: str, *, now: bool) -> RunStatus:
    """End a run; raises RequestRefused: 409."""
    try:
        found = await asking.services.engine.stop(key, now=now, tenant=asking.tenant)
    except RunRefused as exc:
        raise _refused(exc) from None
    await note(asking, "campaign.stopped", f"{key}: {'now' if now else 'after its calls'}")
    return found


async def _named(ask: Ask, name: str) -> KnownCampaign:
    """Find a campaign by key, module or name; none named: the one that was called with last."""
    if not name:
        run = await ask.services.engine.latest(ask.tenant)
        name = run.campaign if run is not None else "default"
    listed = await ask.services.campaigns.list(ask.tenant)
    for one in listed:
        if name in {one.campaign.key, one.campaign.module, one.campaign.name}:
            return one
    raise RequestRefused("no_such_campaign", status=404, fix="GET /api/campaigns lists them")


async def _position(ask: Ask, lead: str | int | None, key: str) -> int:
    """Read which lead is meant: its index from 1, or its id; none: the one behind the last."""
    if lead is None or lead == "":
        run = await ask.services.engine.runs.find(ask.tenant, key)
        found = await ask.services.leads.find(ask.tenant)
        same = run is not None and found is not None and run.list_id == found.id
        return run.position + 1 if run is not None and same else 1
    number = str(lead).rpartition(":")[2]
    if not number.isascii() or not number.isdigit() or not int(number[:9]) > 0:
        fix = "name the lead by its index in the list, from 1"
        raise RequestRefused("no_lead", status=422, fix=fix)
    return int(number[:9])


async def _legacy(ask: Ask) -> dict[str, Any]:
    engine = ask.services.engine
    run = await engine.latest(ask.tenant)
    key = run.campaign if run is not None else "default"
    found = await engine.status(key, tenant=ask.tenant)
    known = await ask.services.campaigns.find(ask.tenant, key)
    current = found.current[0] if found.current else None
    word = {"running": "running", "pausing": "running", "stopping": "stopping"}.get(found.state)
    return {
        "ok": True,
        "status": word or ("running" if current else "idle"),
        "state": found.state,
        "campaign": key,
        "module": known.campaign.module if known else "",
        "lead": await _lead(ask, current),
        "lead_index": current.position if current else None,
        "attempt_id": current.attempt_id if current else None,
        "because": found.run.because if found.run is not None else "",
    }


async def _lead(ask: Ask, current: Attempt | None) -> dict[str, Any] | None:
    if current is None:
        return None
    lead = None
    if current.list_id is not None and current.position is not None:
        lead = await ask.services.leads.at(current.list_id, current.position)
    return {
        "id": current.lead_id,
        "index": current.position,
        "prospect_name": lead.lead.prospect_name if lead else "",
        "company_name": lead.lead.company_name if lead else "",
        "state": current.state,
    }


def _refused(exc: RunRefused) -> RequestRefused:
    return RequestRefused(exc.reason, status=_STATUS.get(exc.reason, 409), fix=exc.fix)


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "attempt_id": one.attempt_id,
        "campaign": one.campaign,
        "lead": one.position,
        "state": one.state,
        "disposition": one.disposition,
        "because": one.because,
        "claimed_at": one.claimed_at,
        "dialed_at": one.dialed_at,
        "answered_at": one.answered_at,
        "ended_at": one.ended_at,
    }


def _shown(found: RunStatus) -> dict[str, Any]:
    run = found.run
    return {
        "campaign": found.campaign,
        "state": found.state,
        "because": run.because if run else "",
        "list_name": run.list_name if run else None,
        "leads": run.leads if run else 0,
        "position": run.position if run else 0,
        "waiting": found.waiting,
        "waiting_until": found.waiting_until,
        "counts": dict(found.counts),
        "pace": found.pace,
        "tripped": found.tripped,
        "current": [_attempt(one) for one in found.current],
    }
