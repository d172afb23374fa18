"""`POST /api/test_function`: one tool, run for a call that is none and leaves no record."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.phone import read_dialed
from router.api.endpoints import Ask, note
from router.api.numbers import read_number
from router.errors import RequestRefused, ToolRefused


class Tried(BaseModel):
    """A tool, what it is given, and whose persona has it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    function: Annotated[str, Field(min_length=1, max_length=100)]
    arguments: dict[str, Any] = {}
    number: Annotated[
        str | None,
        Field(max_length=64, description="whose persona; null: the house persona"),
    ] = None


class Outcome(BaseModel):
    """What the model would hear."""

    ok: bool
    result: str


async def try_tool(ask: Ask) -> Response:
    """Run a tool as it would be in a call from a hidden number; nothing is booked or written down.

    What an HTTP tool asks is asked for real. Tools of the agent say what the model would hear.
    """
    services, tried = ask.services, ask.body
    persona = services.lookup.house_persona
    if tried.number is not None:
        number = read_number(tried.number, services.settings.default_region)
        if services.numbers.tenant_of(number.e164) != ask.tenant:
            fix = "it is none of your numbers; GET /api/numbers lists them"
            raise RequestRefused("no_such_number", status=404, fix=fix)
        persona = (await services.lookup.find(read_dialed(number.e164, None))).persona
    await note(ask, "tool.tried", tried.function)
    try:
        result = await services.toolbox.rehearse(
            persona, tried.function, tried.arguments, tenant=ask.tenant
        )
    except ToolRefused as exc:
        if exc.status == 404:  # noqa: PLR2004
            fix = "the persona has no such tool"
            raise RequestRefused("no_such_tool", status=404, fix=fix) from None
        return JSONResponse({"ok": False, "result": exc.reason})
    return JSONResponse({"ok": True, "result": result})
