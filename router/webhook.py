"""`POST /livekit-webhook`: one delivery, and the one table that maps outcomes to statuses."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import structlog
from starlette.types import Receive, Scope, Send

from router.answers import BY_STATUS, DONE, ONLY_POST, Answer, again
from router.errors import DeliveryRefused
from router.events import verify
from router.inbound import AGAIN, Outcome
from router.metrics import Metrics
from router.records.journal import Delivered
from router.routing import Event
from router.services import Services, State

log = structlog.get_logger(__name__)

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


class WebhookEndpoint:
    """`POST /livekit-webhook`, straight on ASGI: every delivery of a room waits for the one before.

    The body is read by counting and in time, so a sender can make the router neither hold more than
    the limit nor wait.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = ONLY_POST
        if scope["method"] == "POST":
            services = cast("State", scope["state"])["services"]
            received_at = services.clock()
            try:
                body = await services.bodies.read(receive)
            except DeliveryRefused as exc:
                answer = _refused(services, exc, received_at)
            else:
                answer = await deliver(scope["state"], scope["headers"], body)
        for message in answer.messages:
            await send(message)


async def deliver(state: Mapping[str, Any], headers: Headers, body: bytes) -> Answer:
    """Answer one delivery. Never raises: a defect of ours must not lose the call.

    Args:
        state: the lifespan's.
        headers: names in lower case, and values.
        body: what they came with.
    """
    services: Services = state["services"]
    metrics = services.metrics
    received_at, started = services.clock(), time.perf_counter()
    event: Event | None = None
    try:
        event = verify(_authorization(headers), body, received_at, services.keys)
        verified = time.perf_counter()
        verify_ms = round((verified - started) * 1000, 2)
        gate = services.gate
        if not gate.enter() and (again_in_s := await gate.wait()):
            metrics.count_event(event.name)
            metrics.deliveries["put_off"].inc()
            return again(again_in_s)
        began = time.perf_counter()
        try:
            outcome = await services.inbound.take(event)
        finally:
            gate.leave(time.perf_counter() - began)
            metrics.count_event(event.name)  # not before: somebody may be ringing
        metrics.deliveries[outcome.verdict].inc()
        services.tally.delivered(event)
        if outcome.verdict == "dispatched":
            at = (started, verified, began, time.perf_counter())
            # In the loop's next turn, when the answer is on its way.
            asyncio.get_running_loop().call_soon(_count_stages, metrics, event, received_at, at)
        if event.name == "room_finished":
            services.calls.room_finished(event.room_sid)
        repeated = outcome.verdict in AGAIN
        services.journal.note(
            _delivered(event, outcome, 503 if repeated else 200, received_at, verify_ms)
        )
        return again(outcome.again_in_s) if repeated else DONE
    except DeliveryRefused as exc:
        return _refused(services, exc, received_at)
    except Exception:  # LiveKit delivers again
        log.exception("delivery.crashed", event_id=event.event_id if event else None)
        metrics.deliveries["crashed"].inc()
        because = "a defect of ours; the log has more"
        services.journal.note(Delivered(received_at, 503, "crashed", because, event=event))
        return again(1.0)


def _count_stages(
    metrics: Metrics, event: Event, received_at: float, at: tuple[float, float, float, float]
) -> None:
    """Count the stages around the dispatch; *at*: begun, verified, out of the queue, dispatched."""
    started, verified, began, dispatched = at
    if event.participant is not None and event.participant.joined_at:
        late_s = received_at - event.participant.joined_at
        metrics.stages["webhook"].observe(max(0.0, late_s))
    metrics.stages["verify"].observe(verified - started)
    metrics.stages["queue"].observe(began - verified)
    metrics.answering.observe(dispatched - started)


def _refused(services: Services, exc: DeliveryRefused, received_at: float) -> Answer:
    metrics = services.metrics
    log.warning("delivery.refused", reason=exc.reason, status=exc.status)
    metrics.refused[exc.reason].inc()
    metrics.refused_at.labels(exc.reason).set(services.clock())
    metrics.deliveries["refused"].inc()
    services.journal.note_refused(received_at, exc)
    return BY_STATUS[exc.status]


def _delivered(
    event: Event, outcome: Outcome, status: int, received_at: float, verify_ms: float
) -> Delivered:
    trail, because = outcome.trail, outcome.because
    decided = outcome.decided
    if trail is None:
        stages = {"verify": verify_ms}
        return Delivered(
            received_at, status, outcome.verdict, because, decided, event, stages=stages
        )
    return Delivered(
        received_at,
        status,
        outcome.verdict,
        because,
        decided,
        event,
        trail.dialed,
        trail.call_id,
        trail.attempt,
        trail.origin,
        {"verify": verify_ms, **trail.stages},
    )


def _authorization(headers: Headers) -> str | None:
    authorization = None
    for name, value in headers:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-encoding":
            raise DeliveryRefused("content_encoding", status=400)
    return authorization
