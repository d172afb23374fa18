"""`POST /api/calls/{id}/persona`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.errors import PersonaInvalid
from personas.model import Persona
from router.api.endpoints import Ask
from router.errors import LiveKitUnavailable, NotChanged, RequestRefused

_REASONS = {
    "no_such_call": (404, "the call is over, or the id is wrong; GET /api/calls has them"),
    "no_agent": (409, "no agent of ours is in the room; try again in a moment"),
    "persona_too_large": (413, "a persona may have 400 KiB"),
}


class NewPersona(BaseModel):
    """The persona that is to speak from the next turn on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    persona: dict[str, Any] = Field(description="as `persona-router personas schema` has it")


class Applied(BaseModel):
    """What speaks now."""

    version: str


async def change_persona(ask: Ask) -> Response:
    """Have another persona speak from the next turn on."""
    services, call_id = ask.services, ask.path("id")
    if await services.calls.get(call_id, ask.tenant) is None:
        raise _refused("no_such_call")
    try:
        persona = Persona.from_document(ask.body.persona)
        version = await services.live.change(call_id, persona)
    except PersonaInvalid as exc:
        raise RequestRefused("bad_persona", status=422, fix=str(exc)) from None
    except NotChanged as exc:
        raise _refused(exc.reason) from None
    except LiveKitUnavailable:
        raise RequestRefused("livekit_away", status=503, fix="see LIVEKIT_URL") from None
    return JSONResponse({"version": version})


def _refused(reason: str) -> RequestRefused:
    status, fix = _REASONS[reason]
    return RequestRefused(reason, status=status, fix=fix)
