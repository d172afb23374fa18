"""What is answered where no route serves: a wrong path or method, or an error of ours."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from router.api.problems import problem_of

_NO_PATH, _NO_METHOD = 404, 405
_FIXES = {
    _NO_PATH: ("no_such_path", "see /docs, or /openapi.json for programs"),
    _NO_METHOD: ("no_such_method", "the header Allow says which there are; see /docs"),
}


async def refuse(request: Request, exc: Exception) -> Response:
    """Say that there is nothing at this path, or nothing by this method."""
    status = exc.status_code if isinstance(exc, HTTPException) else _NO_PATH
    code, fix = _FIXES.get(status, ("not_served", "see /docs for what is"))
    answer = problem_of(status, HTTPStatus(status).phrase, code, fix)
    if status == _NO_METHOD:
        answer.headers["allow"] = ", ".join(sorted(_methods_of(request)))
    return answer


async def apologise(_request: Request, _exc: Exception) -> Response:
    """Say that it is our fault, and nothing about it; the log has it."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    fix = "this is an error in persona-router; its log has more"
    return problem_of(status, status.phrase, "crashed", fix)


def _methods_of(request: Request) -> set[str]:
    """Return all methods at a path, of which each may have a route of its own."""
    routes = (one for one in request.app.routes if isinstance(one, Route))
    served = (one for one in routes if one.matches(request.scope)[0] is not Match.NONE)
    return {method for one in served for method in one.methods or ()}
