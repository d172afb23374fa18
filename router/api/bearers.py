"""Who may report on a call, and use its tools: the bearer of that call's token."""

from starlette.requests import Request

from router.bodies import Bodies
from router.errors import DeliveryRefused, ReportRefused, TokenRefused
from router.services import Services
from router.tokens import call_of

_TITLES = {400: "Bad Request", 413: "Content Too Large", 503: "Service Unavailable"}
_FIXES = {
    400: "send the whole body",
    413: "send fewer events at a time",
    503: "send the body at once",
}


def call_of_bearer(request: Request) -> str:
    """Return the id of the call that the request's token is good for.

    Raises:
        ReportRefused: 401.
    """
    services: Services = request.state.services
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        return call_of(token, services.settings.webhook_keys().values(), services.clock())
    except TokenRefused as exc:
        raise ReportRefused(
            exc.reason,
            status=401,
            title="Unauthorized",
            fix="send `Authorization: Bearer <_call.report.token>` of this call; router and agent "
            "must have the same LIVEKIT_API_SECRET",
        ) from None


async def body_of(request: Request, bodies: Bodies) -> bytes:
    """Read the body; raises ReportRefused: 400, 413 or 503."""
    try:
        return await bodies.read(request.receive)
    except DeliveryRefused as exc:
        raise ReportRefused(
            exc.reason, status=exc.status, title=_TITLES[exc.status], fix=_FIXES[exc.status]
        ) from None


def other_call() -> ReportRefused:
    """Return the error of a token that belongs to another call."""
    return ReportRefused(
        "other_call", status=401, title="Unauthorized", fix="send the token of this very call"
    )
