"""`POST /api/personas/purge`."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse, Response

from personas.phone import parse
from router.api.endpoints import Ask
from router.errors import RequestRefused


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
    services, wanted = ask.services, ask.body.number
    number = None if wanted is None else parse(wanted, services.settings.default_region)
    if wanted is not None and number is None:
        fix = "send the number as E.164, or set DEFAULT_REGION"
        raise RequestRefused("number_unknown", status=422, fix=fix)
    told = await services.lookup.purge(number)
    others = {None: "none", True: "told", False: "later"}[told]
    answer: dict[str, Any] = {"purged": "all" if number is None else "number", "others": others}
    if ask.body.live:
        answer["live"] = asdict(await services.live.refresh(number))
    return JSONResponse(answer)
