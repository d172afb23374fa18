"""`POST /api/reports`: what an agent tells of its call."""

import time

import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from personas.reports import Acknowledged, CallReport
from router.api.bearers import body_of, call_of_bearer, other_call
from router.api.problems import problem_of
from router.errors import ReportRefused, StoreUnavailable
from router.services import Services

log = structlog.get_logger(__name__)


async def report(request: Request) -> Response:
    """Store a report; 200 says that it is on disk, whatever it says of earlier ones."""
    services: Services = request.state.services
    metrics = services.metrics
    counted = metrics.reports
    try:
        told = await _read(request)
    except ReportRefused as exc:
        log.warning("report.refused", reason=exc.reason, status=exc.status)
        counted["refused"].inc()
        return problem_of(exc.status, exc.title, exc.reason, exc.fix)
    began = time.perf_counter()
    try:
        acknowledged = await services.calls.take(told)
        await services.engine.heard(told)
    except StoreUnavailable as exc:
        log.error("report.not_stored", call_id=told.call_id, reason=exc.reason)
        counted["not_stored"].inc()
        return problem_of(503, "Service Unavailable", "database_away", "send it again in a moment")
    counted["stored"].inc()
    metrics.report_intake.observe(time.perf_counter() - began)
    oldest = min(event.at for event in told.events)
    metrics.report_delay.observe(max(0.0, services.clock() - oldest))
    return JSONResponse(Acknowledged(acknowledged=acknowledged).model_dump())


async def _read(request: Request) -> CallReport:
    services: Services = request.state.services
    call_id = call_of_bearer(request)
    body = await body_of(request, services.report_bodies)
    try:
        told = CallReport.model_validate_json(body)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(str(part)[:40] for part in errors[0]["loc"][:4]) or "the body"
        raise ReportRefused(
            "bad_report",
            status=400,
            title="Bad Request",
            fix=f"see {where}; `persona-router contract schema --reports` says how it is written",
        ) from None
    if told.call_id != call_id:
        raise other_call()
    return told
