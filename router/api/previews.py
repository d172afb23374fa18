"""What would happen if a campaign were launched now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.errors import PersonaError
from router.api.campaigns import find_campaign
from router.api.endpoints import Ask, Asking
from router.api.leads import find_list
from router.campaigns.preview import WORDS, sentence
from router.errors import RequestRefused
from router.launch import Launch


class WhichLaunch(BaseModel):
    """The list that would be called, the lead whose greeting is shown, and when."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    list: Annotated[str | None, Field(max_length=100, description="default: the active one")] = None
    row: Annotated[int, Field(ge=1, description="in the list, from 1")] = 1
    at: Annotated[float | None, Field(ge=0, le=1e11, description="Unix seconds; default: now")] = (
        None
    )


class CauseShown(BaseModel):
    """How many leads the gate answers so."""

    because: str
    words: str
    leads: int


class LaunchShown(BaseModel):
    """What would happen; times are Unix seconds."""

    list: str
    total: int = Field(description="leads of the list")
    counted: int = Field(description="of them, so far; ask again until whole")
    whole: bool = Field(description="all are counted; a large list takes up to a minute or two")
    at: float = Field(description="the moment that it is about")
    now: int = Field(description="leads that may be called")
    counts: Sequence[CauseShown]
    bad: int = Field(description="rows of the file that are no leads")
    missing: dict[str, int] = Field(description="leads without a value, by placeholder")
    next_at: float | None = Field(description="when the first of those outside hours may be called")
    lasts_s: float = Field(description="how long it takes to call those who may be called now")
    sentence: str
    row: int
    greeting: str = Field(description="what that lead would hear first")


async def launch(ask: Ask) -> Response:
    """Say what the gate says of every lead of a list, as far as it was asked; nobody is called."""
    asked: WhichLaunch = ask.query
    seen = await look_ahead(ask, ask.path("key"), asked.list, asked.row, asked.at)
    return JSONResponse(seen.model_dump())


async def look_ahead(
    asking: Asking, key: str, list_name: str | None, row: int, at: float | None = None
) -> LaunchShown:
    """Say what would happen now, or *at*; raises RequestRefused: 404 or 409."""
    services, known = asking.services, await find_campaign(asking, key)
    found = await find_list(asking, list_name)
    lead = await services.leads.at(found.id, row)
    if lead is None:
        raise RequestRefused("no_lead", status=404, fix=f"the list has {found.leads} leads")
    wanted = Launch(
        tenant=asking.tenant,
        known=known,
        leads=found,
        own_numbers=services.own_numbers.known(),
    )
    look = await services.launches.look(wanted, at)
    seen = look.seen
    try:
        greeting = await services.engine.dialer.first_words(known.campaign, lead.lead)
    except PersonaError as exc:
        fix = f"the campaign's persona cannot be used: {exc}"
        raise RequestRefused("bad_persona", status=409, fix=fix) from None
    slot = ""
    if seen.next_at is not None:
        slot = f"{datetime.fromtimestamp(seen.next_at, UTC):%Y-%m-%d %H:%M} UTC"
    return LaunchShown(
        list=found.name,
        total=found.leads,
        counted=seen.total,
        whole=look.whole,
        at=look.at,
        now=seen.counts.get("allowed", 0),
        counts=[
            CauseShown(because=why, words=words, leads=seen.counts[why])
            for why, words in WORDS.items()
            if seen.counts.get(why)
        ],
        bad=found.bad,
        missing=dict(seen.missing),
        next_at=seen.next_at,
        lasts_s=seen.lasts_s,
        sentence=sentence(seen, found.leads, found.bad, slot),
        row=row,
        greeting=greeting,
    )
