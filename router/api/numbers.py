"""Our numbers, and whose they are; the first tenant's admins say so."""

from dataclasses import asdict
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.logs import masked
from personas.phone import PhoneNumber, parse
from router.api.calls import listed
from router.api.endpoints import Ask, Asking, AsTable, note
from router.errors import AccessRefused, RequestRefused
from router.principals import DEFAULT_TENANT, tenant_of

_COLUMNS: Final = ("number", "tenant", "since")


class HowShown(AsTable):
    """How the list, which comes whole, is shown."""

    numbers: Annotated[
        Literal["masked", "clear"], Field(description="clear: for operators, and audited")
    ] = "masked"


class NewOwner(BaseModel):
    """Whose a number is from now on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tenant: Annotated[str, Field(min_length=1, max_length=40)]


class NumberShown(BaseModel):
    """A number of ours that was given to a tenant."""

    number: str
    tenant: str
    since: float = Field(description="Unix seconds")


class NumbersShown(BaseModel):
    """All of them: of the tenant, and to admins of the first one of every tenant."""

    items: list[NumberShown]
    next: str | None = None


async def list_numbers(ask: Ask) -> Response:
    """List numbers and whose they are."""
    every = (
        ask.tenant == DEFAULT_TENANT and ask.principal is not None and ask.principal.may("admin")
    )
    found = await ask.services.numbers.list(None if every else ask.tenant)
    return await listed(ask, [asdict(one) for one in found], None, _COLUMNS)


async def assign(ask: Ask) -> Response:
    """Give a number to a tenant: what happens from now on is theirs."""
    number = await give(ask, ask.path("number"), ask.body.tenant)
    return JSONResponse({"number": masked(number.e164), "tenant": ask.body.tenant})


async def release(ask: Ask) -> Response:
    """Give a number back to the first tenant."""
    await take_back(ask, ask.path("number"))
    return Response(status_code=204)


async def give(ask: Asking, written: str, wanted: str) -> PhoneNumber:
    """Give a number to a tenant; raises RequestRefused and AccessRefused."""
    number = _may_change(ask, written)
    tenant = tenant_of(wanted)
    if tenant is None:
        fix = "a tenant's name has up to 40 letters, digits, dots, hyphens and underscores"
        raise RequestRefused("bad_tenant", status=422, fix=fix)
    await ask.services.numbers.assign(number.e164, tenant)
    await note(ask, "number.assigned", f"{masked(number.e164)} {tenant}")
    return number


async def take_back(ask: Asking, written: str) -> None:
    """Give a number back to the first tenant; raises RequestRefused and AccessRefused."""
    number = _may_change(ask, written)
    if not await ask.services.numbers.release(number.e164):
        fix = "no tenant has this number; GET /api/numbers lists them"
        raise RequestRefused("no_such_number", status=404, fix=fix)
    await note(ask, "number.released", str(masked(number.e164)))


def read_number(written: str, region: str | None) -> PhoneNumber:
    """Read a number that somebody sent; raises RequestRefused (422)."""
    number = parse(written, region)
    if number is None:
        fix = "send the number as E.164, or set DEFAULT_REGION"
        raise RequestRefused("number_unknown", status=422, fix=fix)
    return number


def _may_change(ask: Asking, written: str) -> PhoneNumber:
    if ask.tenant != DEFAULT_TENANT:  # else a tenant could take another's calls
        fix = f"admins of the tenant {DEFAULT_TENANT} say whose a number is; ask them"
        raise AccessRefused("other_tenant", status=403, fix=fix)
    return read_number(written, ask.services.settings.default_region)
