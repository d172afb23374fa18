"""Attempts to call somebody: make one, look at them, end one, say how it was."""

from dataclasses import asdict, replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.phone import parse
from router.api.calls import Listing, WhichNumbers, bad_cursor, listed, shown
from router.api.campaigns import find_campaign
from router.api.endpoints import Ask, Asking, note
from router.api.leads import find_list
from router.campaigns.leads import Lead
from router.campaigns.model import WeightedPersona
from router.campaigns.refusals import fix_of
from router.dialer import version_of_campaign
from router.errors import BadCursor, RequestRefused
from router.records.attempts import Attempt, Order, Refused
from router.records.outcomes import AttemptFilter, Outcomes

MAX_NOTE_CHARS: Final = 10_000
_HIDDEN: Final = frozenset({"tenant", "owner", "settled"})
_CSV_COLUMNS: Final = (
    "attempt_id",
    "campaign",
    "list_id",
    "position",
    "tries",
    "number",
    "state",
    "disposition",
    "because",
    "claimed_at",
    "dialed_at",
    "answered_at",
    "ended_at",
    "note",
)
_STRICT: Final = ConfigDict(extra="forbid", hide_input_in_errors=True)
Text = Annotated[str | None, Field(max_length=200)]


class AttemptList(Listing):
    """Which attempts; what is left out does not matter."""

    campaign: Text = None
    state: Text = None
    list: Annotated[Text, Field(description="of this list of leads, as it is now")] = None


class NewAttempt(BaseModel):
    """Whom to call for which campaign: a number, or a lead of a list by its place, from 1."""

    model_config = _STRICT

    campaign: Annotated[str, Field(min_length=1, max_length=64)] = "default"
    number: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    list: Annotated[str | None, Field(max_length=100, description="default: the active one")] = None
    lead: Annotated[int | None, Field(ge=1)] = None
    persona: Annotated[
        str | None, Field(min_length=1, max_length=200, description="in place of the campaign's")
    ] = None


class Said(BaseModel):
    """What an operator says of a call; what is left out stays."""

    model_config = _STRICT

    note: Annotated[str | None, Field(max_length=MAX_NOTE_CHARS)] = None
    disposition: Annotated[str | None, Field(min_length=1, max_length=32)] = None


class WholeAttempt(BaseModel):
    """An attempt; times are Unix seconds. Its id is the call's too."""

    model_config = ConfigDict(extra="allow")

    attempt_id: str
    campaign: str
    number: str
    state: str
    disposition: str | None
    because: str
    note: str
    heard: Annotated[
        dict[str, float | str | None],
        Field(description="what LiveKit's webhooks told while it went on: who came, left, and how"),
    ]


class WholeAttempts(BaseModel):
    """A page of attempts, the latest first."""

    items: list[WholeAttempt]
    next: str | None


async def list_attempts(ask: Ask) -> Response:
    """List attempts."""
    asked: AttemptList = ask.query
    found = await find_list(ask, asked.list) if asked.list else None
    which = AttemptFilter(
        tenant=ask.tenant,
        campaign=asked.campaign,
        state=asked.state,
        list_id=found.id if found else None,
    )
    try:
        page = await Outcomes(ask.services.store).page(which, asked.cursor, asked.limit)
    except BadCursor:
        raise bad_cursor() from None
    return await listed(ask, [document_of(one) for one in page.rows], page.next, _CSV_COLUMNS)


async def show(ask: Ask) -> Response:
    """Show one, with the gate's verdict and what it rests on."""
    found = await find_attempt(ask, ask.path("id"))
    return JSONResponse(await shown(ask, document_of(found)))


async def call(ask: Ask) -> Response:
    """Call somebody, if the gate allows it."""
    made = await place(ask, ask.body)
    masked = replace(ask, query=WhichNumbers())
    return JSONResponse(await shown(masked, document_of(made)), 201)


async def end(ask: Ask) -> Response:
    """Hang up."""
    await hang_up(ask, ask.path("id"))
    return Response(status_code=204)


async def annotate(ask: Ask) -> Response:
    """Write down how it was."""
    said: Said = ask.body
    found = await say(ask, ask.path("id"), note_=said.note, disposition=said.disposition)
    masked = replace(ask, query=WhichNumbers())
    return JSONResponse(await shown(masked, document_of(found)))


async def place(asking: Asking, wanted: NewAttempt) -> Attempt:
    """Call whom *wanted* names.

    Raises:
        RequestRefused: 404, 409 (the gate said no, or the number is being called) or 422.
    """
    if (wanted.number is None) == (wanted.lead is None):
        raise RequestRefused("bad_body", status=422, fix="name a number, or a lead by its place")
    known = await find_campaign(asking, wanted.campaign)
    campaign = known.campaign
    if wanted.persona is not None:
        campaign = campaign.model_copy(update={"personas": (WeightedPersona(id=wanted.persona),)})
        known = replace(known, campaign=campaign)
    engine = asking.services.engine
    if wanted.lead is not None:
        found = await find_list(asking, wanted.list)
        page = await asking.services.leads.page(found, after=wanted.lead - 1, limit=1)
        if not page:
            fix = f"the list has {found.leads} leads"
            raise RequestRefused("no_lead", status=404, fix=fix)
        order = engine.order(known, page[0], tenant=asking.tenant, list_id=found.id)
    else:
        order = Order(
            tenant=asking.tenant,
            known=known,
            campaign_version=version_of_campaign(campaign),
            lead=await _lead(asking, wanted.number or ""),
            lead_id="",
            trunk=campaign.trunk_id or engine.default_trunk,
        )
        order = replace(order, lead_id=order.lead.phone)
    made = await engine.call(order)
    if isinstance(made, Refused):
        await note(asking, "attempt.refused", f"{campaign.key}: {made.because}")
        raise RequestRefused(made.because, status=409, fix=fix_of(made.because))
    await note(asking, "attempt.made", made.attempt_id)
    return made


async def hang_up(asking: Asking, attempt_id: str) -> None:
    """End a call, or keep it from beginning; raises RequestRefused: 404."""
    found = await find_attempt(asking, attempt_id)
    await asking.services.engine.dialer.hang_up(found.attempt_id, "an operator hung up")
    await note(asking, "attempt.hung_up", found.attempt_id)


async def say(
    asking: Asking, attempt_id: str, *, note_: str | None, disposition: str | None
) -> Attempt:
    """Write down what somebody says of a call; raises RequestRefused: 404, or 409 while it goes on.

    How it ended can be said when it is over: its end would write over it.
    """
    found = await find_attempt(asking, attempt_id)
    if disposition is not None and found.is_open:
        fix = "the call goes on; say how it ended when it is over"
        raise RequestRefused("goes_on", status=409, fix=fix)
    await asking.services.engine.attempts.annotate(
        asking.tenant,
        attempt_id,
        note=found.note if note_ is None else note_,
        disposition=disposition,
    )
    await note(asking, "attempt.annotated", attempt_id)
    return await find_attempt(asking, attempt_id)


async def find_attempt(asking: Asking, attempt_id: str) -> Attempt:
    """Find one; raises RequestRefused: 404."""
    found = await asking.services.engine.attempts.find(attempt_id, tenant=asking.tenant)
    if found is None:
        raise RequestRefused("no_such_attempt", status=404, fix="GET /api/attempts lists them")
    return found


async def _lead(asking: Asking, written: str) -> Lead:
    """Give what the active list says of a number; a lead of its own, if it says nothing."""
    parsed = parse(written, asking.services.settings.default_region)
    if parsed is None:
        raise RequestRefused("not_a_number", status=422, fix=fix_of("not_a_number"))
    active = await asking.services.leads.find(asking.tenant)
    if active is not None:
        found = await asking.services.leads.of_number(active, parsed.e164)
        if found is not None:
            return found.lead
    return Lead(phone=parsed.e164)


def document_of(attempt: Attempt) -> dict[str, Any]:
    """Give what may be seen of an attempt."""
    return {name: value for name, value in asdict(attempt).items() if name not in _HIDDEN}
