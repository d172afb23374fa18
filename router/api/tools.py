"""`POST /api/calls/{id}/tools/{name}`: what an agent has the router do during its call."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.api.bearers import body_of, call_of_bearer, other_call
from router.api.problems import problem_of
from router.errors import ReportRefused, StoreUnavailable, ToolRefused
from router.services import Services

log = structlog.get_logger(__name__)

TOOL_S = 30.0  # the agent's own deadline is shorter


async def run_tool(request: Request) -> Response:
    """Run one tool: `{"arguments": {…}}` → `{"result": "…"}`, or a problem whose `detail` is words.

    Those words are what the model shall hear.
    """
    services: Services = request.state.services
    call_id, name = request.path_params["id"], request.path_params["name"]
    counted = services.metrics.tool_runs
    try:
        arguments = await _read(request, call_id)
        async with asyncio.timeout(TOOL_S):
            result = await services.toolbox.run(call_id, name, arguments)
    except ReportRefused as exc:
        counted["refused"].inc()
        return problem_of(exc.status, exc.title, exc.reason, exc.fix)
    except ToolRefused as exc:
        counted["not_done"].inc()
        log.info("tool.not_done", call_id=call_id, status=exc.status)
        return _in_words(exc)
    except StoreUnavailable as exc:
        counted["failed"].inc()
        log.error("tool.failed", call_id=call_id, reason=exc.reason)
        return problem_of(503, "Service Unavailable", "database_away", "try again in a moment")
    except TimeoutError:
        counted["failed"].inc()
        log.error("tool.failed", call_id=call_id, reason="timeout")
        return problem_of(504, "Gateway Timeout", "tool_timeout", "see what the tool asks")
    except Exception:  # a tool's defect must not look like a defect of the call
        counted["failed"].inc()
        log.exception("tool.crashed", call_id=call_id)
        return problem_of(500, "Internal Server Error", "tool_crashed", "the log has more")
    counted["done"].inc()
    return JSONResponse({"result": result})


async def _read(request: Request, call_id: str) -> Mapping[str, Any]:
    services: Services = request.state.services
    if call_of_bearer(request) != call_id:
        raise other_call()
    body = await body_of(request, services.report_bodies)
    try:
        arguments = json.loads(body)["arguments"]
    except (ValueError, RecursionError, KeyError, TypeError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ReportRefused(
            "bad_arguments", status=400, title="Bad Request", fix='send {"arguments": {…}}'
        )
    return arguments


def _in_words(refused: ToolRefused) -> Response:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "code": "tool_not_done",
        "detail": refused.reason,
        "fix": "the detail is for the model",
    }
    return JSONResponse(document, refused.status, media_type="application/problem+json")
