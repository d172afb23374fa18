"""`POST /api/calls/{id}/persona`."""

import json
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from personas.errors import PersonaInvalid
from personas.model import Persona
from router.api.access import stays_here
from router.api.bearers import body_of
from router.api.problems import problem_of
from router.errors import (
    LiveKitUnavailable,
    NotChanged,
    ReportRefused,
    RouterError,
    StoreUnavailable,
)
from router.services import Services

_REASONS = {
    "no_such_call": (404, "the call is over, or the id is wrong; GET /api/calls has them"),
    "no_agent": (409, "no agent of ours is in the room; try again in a moment"),
    "persona_too_large": (413, "a persona may have 400 KiB"),
}


async def change_persona(request: Request) -> Response:
    """Have another persona speak from the next turn on: `{"persona": {…}}`."""
    services: Services = request.state.services
    if not stays_here(services.settings, request):
        fix = "ask from the router's machine, with HOST=127.0.0.1"
        return problem_of(403, "Forbidden", "only_from_this_machine", fix)
    try:
        body = json.loads(await body_of(request, services.report_bodies))
        persona = Persona.from_document(body["persona"])
        version = await services.live.change(request.path_params["id"], persona)
    except (RouterError, PersonaInvalid, ValueError, RecursionError, KeyError, TypeError) as exc:
        return problem_of(*_problem(exc))
    return JSONResponse({"version": version})


def _problem(exc: Exception) -> tuple[int, str, str, str]:
    if isinstance(exc, ReportRefused):
        return exc.status, exc.title, exc.reason, exc.fix
    if isinstance(exc, NotChanged):
        status, fix = _REASONS[exc.reason]
        return status, HTTPStatus(status).phrase, exc.reason, fix
    if isinstance(exc, LiveKitUnavailable):
        return 503, "Service Unavailable", "livekit_away", "see LIVEKIT_URL"
    if isinstance(exc, StoreUnavailable):
        return 503, "Service Unavailable", "database_away", "see DATABASE_URL"
    if isinstance(exc, PersonaInvalid):
        return 422, "Unprocessable Content", "bad_persona", str(exc)
    return 400, "Bad Request", "bad_change", 'send {"persona": {…}}'
