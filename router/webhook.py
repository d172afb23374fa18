"""`POST /livekit-webhook`: one delivery, and the one table that maps outcomes to statuses."""

import time
from typing import cast

import structlog
from starlette.types import Receive, Scope, Send

from router.answers import BY_STATUS, DONE, ONLY_POST, Answered, again
from router.errors import DeliveryRefused
from router.events import verify
from router.inbound import AGAIN, Outcome
from router.metrics import Metrics
from router.records.journal import Delivered
from router.routing import Event
from router.services import Services, State

log = structlog.get_logger(__name__)


class WebhookEndpoint:
    """`POST /livekit-webhook`, straight on ASGI: every delivery of a room waits for the one before.

    The body is read by counting and in time, so a sender can make the router neither hold more than
    the limit nor wait.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        services = cast("State", scope["state"])["services"]
        answer = ONLY_POST
        if scope["method"] == "POST":
            answer = await self._take(services, scope, receive)
        for message in answer:
            await send(message)

    async def _take(self, services: Services, scope: Scope, receive: Receive) -> Answered:
        metrics = services.metrics
        received_at, started = services.clock(), time.perf_counter()
        try:
            authorization = _authorization(scope)
            body = await services.bodies.read(receive)
            event = verify(authorization, body, services.clock(), services.keys)
        except DeliveryRefused as exc:
            log.warning("delivery.refused", reason=exc.reason, status=exc.status)
            metrics.refused[exc.reason].inc()
            metrics.refused_at.labels(exc.reason).set(services.clock())
            metrics.deliveries["refused"].inc()
            services.journal.note_refused(received_at, exc)
            return BY_STATUS[exc.status]
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
        except Exception:  # a bug of ours must not lose the call: LiveKit delivers again
            log.exception("delivery.crashed", event_id=event.event_id)
            metrics.deliveries["crashed"].inc()
            because = "a defect of ours; the log has more"
            services.journal.note(Delivered(received_at, 503, "crashed", because, event=event))
            return again(1.0)
        finally:
            gate.leave(time.perf_counter() - began)
            metrics.count_event(event.name)  # not before: somebody may be ringing
        metrics.deliveries[outcome.verdict].inc()
        services.tally.delivered(event)
        if outcome.verdict == "dispatched":
            _count_stages(metrics, event, received_at, (started, verified, began))
        if event.name == "room_finished":
            services.calls.room_finished(event.room_sid)
        repeated = outcome.verdict in AGAIN
        services.journal.note(
            _delivered(event, outcome, 503 if repeated else 200, received_at, verify_ms)
        )
        return again(outcome.again_in_s) if repeated else DONE


def _count_stages(
    metrics: Metrics, event: Event, received_at: float, at: tuple[float, float, float]
) -> None:
    """Count the stages around those of the dispatch; *at*: begun, verified, out of the queue."""
    started, verified, began = at
    if event.participant is not None and event.participant.joined_at:
        late_s = received_at - event.participant.joined_at
        metrics.stages["webhook"].observe(max(0.0, late_s))
    metrics.stages["verify"].observe(verified - started)
    metrics.stages["queue"].observe(began - verified)
    metrics.answering.observe(time.perf_counter() - started)


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


def _authorization(scope: Scope) -> str | None:
    authorization = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-encoding":
            raise DeliveryRefused("content_encoding", status=400)
    return authorization
