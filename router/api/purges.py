"""`POST /api/personas/purge`."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse, Response

from personas.phone import PhoneNumber, parse
from router.api.endpoints import Ask, Asking
from router.api.numbers import read_number
from router.errors import RequestRefused
from router.live import Changed
from router.principals import DEFAULT_TENANT


class Purge(BaseModel):
    """Whose copies are to go: one number's, or all."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    number: Annotated[str | None, Field(max_length=64)] = None
    all: Literal[True] | None = None
    live: Annotated[
        bool, Field(description="calls that go on speak as the new persona from their next turn on")
    ] = False

    @model_validator(mode="after")
    def _one_of_them(self) -> "Purge":
        if (self.number is None) == (self.all is None):
            raise ValueError('send {"number": "+13125550100"} or {"all": true}')
        return self


class LiveChanged(BaseModel):
    """How many calls that go on speak as another persona now."""

    changed: int
    same: int
    not_reached: int


class Purged(BaseModel):
    """What went, and whether the other routers know."""

    purged: Literal["number", "all"]
    others: Literal["none", "told", "later"]
    live: LiveChanged | None = None


async def purge(ask: Ask) -> Response:
    """Forget personas: the next call asks the persona API again."""
    return JSONResponse(await purged(ask, ask.body))


async def purged(ask: Asking, asked: Purge) -> dict[str, Any]:
    """Forget what *asked* says; raises RequestRefused."""
    services, wanted = ask.services, asked.number
    which = await _numbers(ask, wanted)
    told = [await services.lookup.purge(number) for number in which]
    others = "none" if None in told or not told else "later" if False in told else "told"
    answer: dict[str, Any] = {"purged": "all" if wanted is None else "number", "others": others}
    if asked.live:
        done = [await services.live.refresh(number) for number in which]
        answer["live"] = asdict(sum(done, start=Changed()))
    return answer


async def _numbers(ask: Asking, wanted: str | None) -> list[PhoneNumber | None]:
    """Return the numbers that were meant, which are the asker's; None: all that there are."""
    numbers = ask.services.numbers
    if wanted is not None:
        number = read_number(wanted, ask.services.settings.default_region)
        if numbers.tenant_of(number.e164) != ask.tenant:
            fix = "the number is another tenant's; GET /api/numbers lists yours"
            raise RequestRefused("no_such_number", status=404, fix=fix)
        return [number]
    if ask.tenant == DEFAULT_TENANT:
        return [None]
    return [parse(one.number) for one in await numbers.list(ask.tenant)]
