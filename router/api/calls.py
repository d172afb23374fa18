"""Calls, what was told in them, and the totals: lists by cursor, as JSON or CSV.

Phone numbers are masked, wherever they stand, unless an operator asks for them; that is audited.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from router.access import permit
from router.api.endpoints import Ask, Asking
from router.api.masks import masked_record
from router.api.tables import csv_of
from router.errors import BadCursor, RequestRefused
from router.papers import Language, call_paper, summary_paper
from router.records.archive import CallFilter, CallRecord, FactFilter, FactRecord
from router.records.pages import MAX_PAGE, Page
from router.records.trace import trace_of

RECENT: Final = 10
PAPERS_PER_MINUTE: Final = 20
_CSV_COLUMNS: Final = tuple(CallRecord.__slots__)
Text = Annotated[str | None, Field(max_length=200)]
Seconds = Annotated[float | None, Field(ge=0, le=1e11, description="Unix seconds")]


Cursor = Annotated[str | None, Field(max_length=400, description="`next` of a page")]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]


class Listing(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    cursor: Cursor = None
    limit: Limit = 50
    format: Literal["json", "csv"] = "json"
    numbers: Annotated[
        Literal["masked", "clear"], Field(description="clear: for operators, and audited")
    ] = "masked"


class WhichCalls(Listing):
    """Which calls; what is left out does not matter."""

    caller: Text = None
    dialed_number: Text = None
    persona_name: Text = None
    disposition: Text = None
    outcome: Annotated[Text, Field(description="the same as disposition")] = None
    qualification: Text = None
    campaign_id: Text = None
    direction: Literal["inbound", "outbound"] | None = None
    open: bool | None = None
    since: Seconds = None
    until: Seconds = None


class WhichFacts(Listing):
    """Which facts."""

    category: Text = None
    caller: Text = None
    caller_id: Annotated[Text, Field(description="the same as caller")] = None
    call_id: Text = None
    since: Seconds = None
    until: Seconds = None


class WhichNumbers(BaseModel):
    """Whether phone numbers are shown."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    numbers: Literal["masked", "clear"] = "masked"


class OnPaper(WhichNumbers):
    """How it is answered."""

    format: Literal["json", "pdf"] = "json"
    language: Annotated[Language, Field(description="of a PDF")] = "en"


class CallShown(BaseModel):
    """A call's record; times are Unix seconds."""

    model_config = ConfigDict(extra="allow")

    call_id: str
    direction: str
    started_at: float
    ended_at: float | None
    disposition: str | None


class CallsShown(BaseModel):
    """A page of calls, the one that began last first."""

    items: list[CallShown]
    next: str | None = Field(description="cursor of the next page")


class WholeCall(BaseModel):
    """Everything about one call."""

    call: CallShown
    recording: dict[str, Any] | None = Field(
        description="state, times, error; for operators path and location"
    )
    transcript: list[dict[str, Any]]
    facts: list[dict[str, Any]]
    events: list[dict[str, Any]]


class FactShown(BaseModel):
    """Something that a caller told."""

    id: str
    session_id: str = Field(description="the call")
    caller_id: str | None
    information: str
    category: str
    timestamp: float
    status: Literal["stored"]


class FactsShown(BaseModel):
    """A page of facts, the latest first."""

    items: list[FactShown]
    next: str | None


class SessionShown(BaseModel):
    """A call, as older clients know it."""

    id: str
    caller: str | None
    start: float
    end: float | None
    status: Literal["active", "ended"]
    facts: int


class SessionsShown(BaseModel):
    """A page of sessions."""

    items: list[SessionShown]
    next: str | None


class Summary(BaseModel):
    """Totals of the tenant, and the calls that began last."""

    sessions: int
    calls: int
    active: int
    facts: int
    facts_by_category: dict[str, int]
    recent: list[SessionShown]


async def list_calls(ask: Ask) -> Response:
    """List calls."""
    page = await _calls(ask)
    return await listed(ask, [row.cells() for row in page.rows], page.next, _CSV_COLUMNS)


async def list_sessions(ask: Ask) -> Response:
    """List calls as older clients know them."""
    page = await _calls(ask)
    rows = [_session(row) for row in page.rows]
    return await listed(ask, rows, page.next, tuple(SessionShown.model_fields))


async def list_facts(ask: Ask) -> Response:
    """List what callers told."""
    asked: WhichFacts = ask.query
    which = FactFilter(
        category=asked.category,
        caller=asked.caller or asked.caller_id,
        call_id=asked.call_id,
        since=asked.since,
        until=asked.until,
        tenant=ask.tenant,
    )
    try:
        page = await ask.services.calls.facts(which, asked.cursor, asked.limit)
    except BadCursor:
        raise bad_cursor() from None
    rows = [_fact(row) for row in page.rows]
    return await listed(ask, rows, page.next, tuple(FactShown.model_fields))


async def show_call(ask: Ask) -> Response:
    """Give one call: its record, what was said and told, and everything that was reported."""
    records, call_id = ask.services.calls, ask.path("id")
    record = await records.get(call_id, ask.tenant)
    if record is None:
        fix = "GET /api/calls lists them; RECORDS_DAYS says how long they are kept"
        raise RequestRefused("no_such_call", status=404, fix=fix)
    timeline = [event.model_dump() for event in await records.timeline(call_id)]
    facts = [_fact(fact) for fact in await records.facts_so_far(call_id)]
    document = {
        "call": record.cells(),
        "transcript": [event for event in timeline if event["kind"] == "turn"],
        "facts": facts,
        "events": timeline,
    }
    if ask.query.format == "json":
        recording = await recording_of(ask, call_id)
        return JSONResponse({**await shown(ask, document), "recording": recording})
    await _limit_papers(ask)
    trace = await trace_of(ask.services.store, call_id, ask.tenant)
    stages = trace.document()["stages"] if trace else []
    visible = await shown(ask, document | {"stages": stages})
    paper = await asyncio.to_thread(
        call_paper,
        visible["call"],
        visible["stages"],
        visible["facts"],
        visible["transcript"],
        at=ask.services.clock(),
        language=ask.query.language,
    )
    return _paper(paper, f"call-{call_id}"[:60])


async def recording_of(asking: Asking, call_id: str) -> dict[str, Any] | None:
    """Give what is known of a call's recording; where it is, as it is, to operators alone.

    What is heard there cannot be masked.
    """
    found = await asking.services.recorder.rows.of(call_id)
    if found is None:
        return None
    document = {**asdict(found), "error": masked_record(found.error)}
    if asking.principal is None or not asking.principal.may("operator"):
        document |= {"path": None, "location": None}
    return document


async def summary(ask: Ask) -> Response:
    """Count, and give the latest."""
    records = ask.services.calls
    totals = await records.totals(ask.tenant)
    latest = await records.page(CallFilter(tenant=ask.tenant), None, RECENT)
    document = {
        "sessions": totals.calls,
        "calls": totals.calls,
        "active": totals.open_calls,
        "facts": totals.facts,
        "facts_by_category": totals.facts_by_category,
        "recent": [_session(row) for row in latest.rows],
    }
    visible = await shown(ask, document)
    if ask.query.format == "json":
        return JSONResponse(visible)
    await _limit_papers(ask)
    paper = await asyncio.to_thread(
        summary_paper, visible, at=ask.services.clock(), language=ask.query.language
    )
    return _paper(paper, "summary")


async def _limit_papers(ask: Ask) -> None:
    if ask.principal is not None:  # a paper takes a processor for a while
        await ask.services.access.limit("paper", PAPERS_PER_MINUTE, ask.principal)


def _paper(content: bytes, name: str) -> Response:
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in name)
    answer = Response(content, media_type="application/pdf")
    answer.headers["content-disposition"] = f'inline; filename="{plain}.pdf"'
    return answer


async def _calls(ask: Ask) -> Page[CallRecord]:
    asked: WhichCalls = ask.query
    which = CallFilter(
        caller=asked.caller,
        dialed_number=asked.dialed_number,
        persona_name=asked.persona_name,
        disposition=asked.disposition or asked.outcome,
        qualification=asked.qualification,
        campaign_id=asked.campaign_id,
        direction=asked.direction,
        is_open=asked.open,
        since=asked.since,
        until=asked.until,
        tenant=ask.tenant,
    )
    try:
        return await ask.services.calls.page(which, asked.cursor, asked.limit)
    except BadCursor:
        raise bad_cursor() from None


def bad_cursor() -> RequestRefused:
    """Say that a cursor is none of this list's."""
    fix = "send `next` of the page before, or no cursor"
    return RequestRefused("bad_cursor", status=422, fix=fix)


async def listed(
    ask: Ask, rows: Sequence[Mapping[str, Any]], following: str | None, columns: Iterable[str]
) -> Response:
    """Answer a page as JSON or CSV, as the question has it."""
    return as_page(ask, await shown(ask, rows), following, columns)


def as_page(
    ask: Ask, rows: Sequence[Mapping[str, Any]], following: str | None, columns: Iterable[str]
) -> Response:
    """Answer *rows* as they are, as JSON or CSV."""
    if ask.query.format == "csv":
        answer = Response(csv_of(rows, tuple(columns)), media_type="text/csv; charset=utf-8")
        if following is not None:
            link = str(ask.request.url.include_query_params(cursor=following))
            answer.headers["link"] = f'<{link}>; rel="next"'
        return answer
    return JSONResponse({"items": rows, "next": following})


async def shown(ask: Ask, document: Any) -> Any:
    """Mask all numbers in *document*, unless an operator wants them clear."""
    if ask.query.numbers == "masked" or ask.principal is None:
        return masked_record(document)
    permit(ask.principal, "operator")
    await ask.services.access.accounts.note(ask.principal, "numbers.revealed", ask.request.url.path)
    return document


def _session(row: CallRecord) -> dict[str, Any]:
    return {
        "id": row.call_id,
        "caller": row.caller,
        "start": row.started_at,
        "end": row.ended_at,
        "status": "active" if row.ended_at is None else "ended",
        "facts": row.facts,
    }


def _fact(row: FactRecord) -> dict[str, Any]:
    return {
        "id": row.fact_id,
        "session_id": row.call_id,
        "caller_id": row.caller,
        "information": row.information,
        "category": row.category,
        "timestamp": row.at,
        "status": "stored",
    }
