"""The journal over HTTP: deliveries, and deciding on one again. Nothing in it was not masked."""

import json
from collections.abc import MutableMapping
from typing import Annotated, Any, Final

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Send

from router.api.calls import Listing, Text, bad_cursor, listed
from router.api.endpoints import Ask
from router.errors import BadCursor, LiveKitUnavailable, RequestRefused
from router.principals import Principal
from router.records.entries import Entry, Which, deliveries_of
from router.replay import Redrive, rehearsing, replay, trunks_of
from router.services import Services, plan_from

log = structlog.get_logger(__name__)

REPLAYS_PER_MINUTE: Final = 30  # each may ask the persona API
_HERE: Final = "http://router/livekit-webhook"
_COLUMNS: Final = (
    "id",
    "at",
    "status",
    "event",
    "verdict",
    "because",
    "decision",
    "call_id",
    "attempt",
    "source",
    "version",
    "took_ms",
    "stages",
    "event_id",
    "room_sid",
    "body",
)


class WhichDeliveries(Listing):
    """Which deliveries; what is left out does not matter."""

    verdict: Text = None
    event: Text = None
    call_id: Text = None


class DeliveryShown(BaseModel):
    """What became of a delivery; the body is what was read of it, with numbers masked."""

    id: int
    at: float = Field(description="Unix seconds")
    status: int = Field(description="of the answer; 0: the watch over the rooms did it")
    event: str | None
    verdict: str
    because: str
    decision: str | None
    call_id: str | None
    attempt: int | None
    source: str | None
    version: str | None
    took_ms: float | None
    stages: dict[str, float] = Field(description="milliseconds")
    event_id: str | None
    room_sid: str | None
    body: dict[str, Any]


class DeliveriesShown(BaseModel):
    """A page of deliveries, the latest first."""

    items: list[DeliveryShown]
    next: str | None


class HowAgain(BaseModel):
    """How a delivery is decided on again."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    redrive: Annotated[
        bool, Field(description="send it again too, if its call is stuck and the caller waits")
    ] = False


class Redriven(BaseModel):
    """What came of sending it again."""

    outcome: str
    said: str


class DeliveryReplayed(BaseModel):
    """What was decided then, and what would be now."""

    model_config = ConfigDict(extra="allow")

    id: int
    changed: list[str]
    redrive: Redriven | None = None


async def list_deliveries(ask: Ask) -> Response:
    """List deliveries."""
    asked: WhichDeliveries = ask.query
    which = Which(verdict=asked.verdict, event=asked.event, call_id=asked.call_id)
    try:
        page = await deliveries_of(ask.services.store, ask.tenant, which, asked.cursor, asked.limit)
    except BadCursor:
        raise bad_cursor() from None
    rows = [row_of(one) for one in page.rows]
    if asked.format == "csv":
        rows = [row | {name: json.dumps(row[name]) for name in ("stages", "body")} for row in rows]
    return await listed(ask, rows, page.next, _COLUMNS)


async def show_delivery(ask: Ask) -> Response:
    """Give one delivery."""
    return JSONResponse(row_of(await entry_of(ask.services, ask.tenant, ask.path("id"))))


async def replay_delivery(ask: Ask) -> Response:
    """Decide on a delivery again by today's configuration, and send it again where that is due."""
    entry = await entry_of(ask.services, ask.tenant, ask.path("id"))
    return JSONResponse(
        await again(ask.request, ask.services, ask.principal, entry, redrive=ask.body.redrive)
    )


def row_of(one: Entry) -> dict[str, Any]:
    """Give what may be shown of a delivery."""
    return {
        "id": one.id,
        "at": one.received_at,
        "status": one.status,
        "event": one.event,
        "verdict": one.verdict,
        "because": one.because,
        "decision": one.decision,
        "call_id": one.call_id,
        "attempt": one.attempt,
        "source": one.source,
        "version": one.version,
        "took_ms": round(sum(one.stages.values()), 2) if one.stages else None,
        "stages": dict(one.stages),
        "event_id": one.event_id,
        "room_sid": one.room_sid,
        "body": dict(one.body),
    }


async def entry_of(services: Services, tenant: str, written: str) -> Entry:
    """Find a delivery of *tenant*; raises RequestRefused (404)."""
    plain = written.isascii() and written.isdigit() and len(written) < len(str(2**63))
    if plain and (
        found := (await deliveries_of(services.store, tenant, Which(id=int(written)))).rows
    ):
        return found[0]
    fix = "GET /api/deliveries lists them; JOURNAL_DAYS says how long they are kept"
    raise RequestRefused("no_such_delivery", status=404, fix=fix)


async def again(
    request: Request,
    services: Services,
    principal: Principal | None,
    entry: Entry,
    *,
    redrive: bool,
) -> dict[str, Any]:
    """Decide on *entry* again, and if asked to, post it to this very router again.

    Raises:
        RequestRefused: 503, LiveKit did not say who is in the room.
        StoreUnavailable: the database did not answer.
    """
    lookup = rehearsing(services.settings)
    try:
        trunks = trunks_of(plan_from(services.settings), services.livekit)
        (replayed,) = await replay([entry], trunks, lookup)
    finally:
        await lookup.aclose()
    document = replayed.document() | {"redrive": None}
    if not redrive:
        return document
    transport = httpx.ASGITransport(_inside(request))
    async with httpx.AsyncClient(transport=transport) as client:
        driver = Redrive(
            store=services.store,
            livekit=services.livekit,
            client=client,
            url=_HERE,
            key=services.settings.livekit_api_key,
            secret=services.settings.livekit_api_secret.get_secret_value().encode(),
            clock=services.clock,
        )
        try:
            came = await driver.drive(entry)
        except LiveKitUnavailable:
            fix = "LiveKit did not say who is in the room; see LIVEKIT_URL"
            raise RequestRefused("livekit_away", status=503, fix=fix) from None
    if principal is not None:
        subject = f"{entry.id} {came.outcome}"
        await services.access.accounts.note(principal, "delivery.redriven", subject)
    log.info("delivery.redriven", id=entry.id, outcome=came.outcome)
    return document | {"redrive": {"outcome": came.outcome, "said": came.said}}


def _inside(request: Request) -> Any:
    """Return this application, for requests that do not leave the process."""

    async def served(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await request.app({**scope, "state": request.scope["state"]}, receive, send)

    return served
