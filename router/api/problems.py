"""Errors as RFC 9457 has them."""

from starlette.responses import Response

from router.answers import problem


def problem_of(status: int, title: str, code: str, fix: str) -> Response:
    """Return the answer that says what went wrong, and what to do."""
    body = problem(status, title, code, fix)
    return Response(body, status, media_type="application/problem+json")
