"""What people have agreed to: list, give, take back, import."""

from dataclasses import asdict, fields
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.logs import masked
from router.api.calls import Listing, bad_cursor, listed
from router.api.do_not_call import Number, e164
from router.api.endpoints import Ask, csv_body, note
from router.campaigns.consent import Agreement, Consent, consents_of
from router.campaigns.leads import MAX_BYTES, read_leads
from router.errors import BadCursor, LeadsRefused, RequestRefused
from router.records.consents import MAX_SOURCE_CHARS, MAX_WHAT_CHARS, Given

What = Annotated[str, Field(min_length=1, max_length=MAX_WHAT_CHARS, pattern=r"^[\w-]+$")]


class WhichAgreements(Listing):
    """Which of them."""

    number: Annotated[str | None, Field(max_length=64)] = None


class NewAgreement(BaseModel):
    """Who has agreed to what, when and where."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    number: Number
    what: What = "calls"
    source: Annotated[
        str, Field(min_length=1, max_length=MAX_SOURCE_CHARS, description="where it was given")
    ]
    since: Annotated[
        float | None, Field(ge=0, le=1e11, description="Unix seconds; default: now")
    ] = None


class Withdrawal(BaseModel):
    """What somebody takes back."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    number: Number
    what: What = "calls"


class AgreementShown(BaseModel):
    """What is known of a number and one thing to agree to; times are Unix seconds."""

    number: str
    what: str
    since: float | None = Field(description="null: only that it was taken back")
    source: str | None
    withdrawn_at: float | None
    via: str
    noted_at: float


class AgreementsShown(BaseModel):
    """A page of them, the latest first."""

    items: list[AgreementShown]
    next: str | None = Field(description="cursor of the next page")


class ImportedAgreements(BaseModel):
    """What has become of a list."""

    kept: int
    without: int = Field(description="rows that do not say what, when and from where")
    bad: int = Field(description="rows without a number")


async def list_agreements(ask: Ask) -> Response:
    """List who has agreed to what."""
    asked: WhichAgreements = ask.query
    number = None if asked.number is None else e164(ask, asked.number)
    try:
        page = await ask.services.consents.page(
            ask.tenant, number=number, cursor=asked.cursor, limit=asked.limit
        )
    except BadCursor:
        raise bad_cursor() from None
    columns = tuple(field.name for field in fields(Agreement))
    return await listed(ask, [asdict(row) for row in page.rows], page.next, columns)


async def give(ask: Ask) -> Response:
    """Keep that somebody has agreed."""
    wanted: NewAgreement = ask.body
    number = e164(ask, wanted.number)
    since = ask.services.clock() if wanted.since is None else wanted.since
    given = Given(number, Consent(wanted.what.lower(), since, wanted.source))
    await ask.services.consents.give(ask.tenant, [given], via="api")
    await note(ask, "consent.given", f"{wanted.what} {masked(number)}")
    return Response(status_code=204)


async def withdraw(ask: Ask) -> Response:
    """Note that somebody takes it back now: it counts for lists of leads as well."""
    number, what = e164(ask, ask.query.number), ask.query.what
    await ask.services.consents.withdraw(ask.tenant, number, what, via="api")
    await note(ask, "consent.withdrawn", f"{what} {masked(number)}")
    return Response(status_code=204)


async def import_agreements(ask: Ask) -> Response:
    """Keep the agreements of a CSV file with the columns that a list of leads has."""
    raw = await csv_body(ask.request, MAX_BYTES)
    try:
        table = read_leads(raw, ask.services.settings.default_region)
    except LeadsRefused as exc:
        raise RequestRefused(exc.reason, status=422, fix=exc.fix) from None
    given, without = [], 0
    for _, lead in table.leads:
        found = consents_of(lead.variables)
        given += [Given(lead.phone, one) for one in found]
        without += not found
    await ask.services.consents.give(ask.tenant, given, via="csv")
    await note(ask, "consent.imported", str(len(given)))
    return JSONResponse({"kept": len(given), "without": without, "bad": len(table.bad)})
