"""Signing in and out."""

from dataclasses import replace

from pydantic import BaseModel
from starlette.responses import Response

from router.access import session_cookie
from router.dashboard.pages import Visit, safe_path, to
from router.errors import AccessRefused


class Next(BaseModel):
    """Where to go after signing in."""

    next: str = "/"


async def form(visit: Visit) -> Response:
    """Show the form; who is signed in goes on."""
    following = safe_path(visit.query.next)
    if visit.principal is not None:
        return to(following)
    return visit.render("login.html", next=following, email="", problem=None)


async def sign_in(visit: Visit) -> Response:
    """Start a session."""
    following = safe_path(visit.form.get("next", "/"))
    email, password = visit.form.get("email", ""), visit.form.get("password", "")
    peer = visit.request.client.host if visit.request.client else ""
    try:
        secret = await visit.services.access.sign_in(email[:256], password[:256], peer)
    except AccessRefused as exc:
        page = replace(visit, title="Sign in")
        answer = page.render("login.html", exc.status, next=following, email=email, problem=exc)
        if exc.retry_after_s:
            answer.headers["retry-after"] = str(exc.retry_after_s)
        return answer
    answer = to(following)
    answer.headers["set-cookie"] = session_cookie(secret, secure=visit.secure)
    return answer


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    await visit.services.access.sign_out(visit.request.headers.get("cookie", ""))
    answer = to("/login")
    answer.headers["set-cookie"] = session_cookie("", secure=visit.secure)
    return answer
