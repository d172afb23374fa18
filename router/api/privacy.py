"""What is kept of one person: given out, erased. The number stands in no URL and in no audit."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse, Response

from personas.logs import masked
from personas.phone import parse
from router.api.endpoints import Ask
from router.errors import ErasureRefused, RequestRefused
from router.records.people import Person


class Whom(BaseModel):
    """A person, by number or by a lead's e-mail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    number: Annotated[str | None, Field(max_length=64)] = None
    email: Annotated[str | None, Field(min_length=3, max_length=254, pattern="@")] = None

    @model_validator(mode="after")
    def _somebody(self) -> "Whom":
        if self.number is None and self.email is None:
            raise ValueError("name a number, an e-mail or both")
        return self


class Exported(BaseModel):
    """All that is kept, by kind: rows as they are."""

    model_config = ConfigDict(extra="allow")

    calls: list[dict[str, Any]]


class Erased(BaseModel):
    """How many rows of each kind there were."""

    erased: dict[str, int]


async def export(ask: Ask) -> Response:
    """Give out all that is kept of a person."""
    person = _person(ask)
    found = await ask.services.erasure.export(person)
    await _note(ask, "person.exported", person)
    return JSONResponse(found)


async def erase(ask: Ask) -> Response:
    """Erase a person."""
    person = _person(ask)
    try:
        counts = await ask.services.erasure.erase(person)
    except ErasureRefused as exc:
        raise RequestRefused(exc.reason, status=409, fix=exc.fix) from None
    await _note(ask, "person.erased", person)
    return JSONResponse({"erased": counts})


def _person(ask: Ask) -> Person:
    wanted: Whom = ask.body
    number = None
    if wanted.number is not None:
        number = parse(wanted.number, ask.services.settings.default_region)
        if number is None:
            fix = "send the number as E.164, or set DEFAULT_REGION"
            raise RequestRefused("number_unknown", status=422, fix=fix)
    return Person(number, wanted.email, ask.tenant)


async def _note(ask: Ask, did: str, person: Person) -> None:
    subject = masked(person.number.e164) if person.number else "by e-mail"
    if ask.principal is not None:
        await ask.services.access.accounts.note(ask.principal, did, subject)
