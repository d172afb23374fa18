"""`POST /livekit-webhook`: one delivery, and the one table that maps outcomes to statuses."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

import structlog
from starlette.types import Receive, Scope, Send

from router.answers import BY_STATUS, DONE, ONLY_POST, Answer, again
from router.errors import DeliveryRefused
from router.events import verify
from router.inbound import AGAIN, Outcome
from router.metrics import Metrics
from router.records.journal import Delivered
from router.routing import Answer as Call
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
                answered = deliver(scope["state"], scope["headers"], body)
                answer = answered if isinstance(answered, Answer) else await answered
        for message in answer.messages:
            await send(message)


class _Verified(NamedTuple):
    """A delivery of LiveKit's: when it came, and from when to when it was verified."""

    event: Event
    received_at: float  # Unix seconds
    started: float  # these two are the performance counter's
    verified: float


def deliver(
    state: Mapping[str, Any], headers: Headers, body: bytes
) -> Answer | Coroutine[Any, Any, Answer]:
    """Answer one delivery: at once, unless somebody is ringing.

    Neither it nor what it returns raises: a defect of ours must not lose the call.

    Args:
        state: the lifespan's.
        headers: names in lower case, and values.
        body: what they came with.
    """
    services: Services = state["services"]
    received_at, started = services.clock(), time.perf_counter()
    try:
        event = verify(_authorization(headers), body, received_at, services.keys)
    except DeliveryRefused as exc:
        return _refused(services, exc, received_at)
    came = _Verified(event, received_at, started, time.perf_counter())
    try:
        sorted_ = services.inbound.sort(event)
        if isinstance(sorted_, Outcome):
            return _done(services, came, sorted_)
    except Exception as exc:  # noqa: BLE001 - whatever it is, somebody may be ringing
        return _crashed(services, came, exc)
    return _answered(services, came, sorted_)


async def _answered(services: Services, came: _Verified, call: Call) -> Answer:
    metrics, gate, event = services.metrics, services.gate, came.event
    try:
        if not gate.enter() and (again_in_s := await gate.wait()):
            metrics.count_event(event.name)
            metrics.deliveries.inc("put_off")
            return again(again_in_s)
        began = time.perf_counter()
        try:
            outcome = await services.inbound.answer(call, event)
        finally:
            dispatched = time.perf_counter()
            gate.leave(dispatched - began)
        if outcome.verdict == "dispatched":
            # In the loop's next turn, when the answer is on its way.
            loop = asyncio.get_running_loop()
            loop.call_soon(_count_stages, metrics, came, began, dispatched)
        return _done(services, came, outcome, dispatched)
    except Exception as exc:  # noqa: BLE001 - whatever it is, somebody may be ringing
        return _crashed(services, came, exc)


def _done(
    services: Services, came: _Verified, outcome: Outcome, dispatched: float | None = None
) -> Answer:
    event = came.event
    services.metrics.count_event(event.name)
    services.metrics.deliveries.inc(outcome.verdict)
    services.tally.delivered(event)
    if event.name == "room_finished":
        services.calls.room_finished(event.room_sid)
    services.engine.noticed(event)
    if event.egress is not None:
        services.recorder.rows.heard(event.egress)
    repeated = outcome.verdict in AGAIN
    delivered = _delivered(came, outcome, 503 if repeated else 200)
    if dispatched is not None and outcome.verdict == "dispatched":
        delivered = delivered._replace(answer_ms=round((dispatched - came.started) * 1000, 3))
    services.journal.note(delivered)
    return again(outcome.again_in_s) if repeated else DONE


def _crashed(services: Services, came: _Verified, exc: Exception) -> Answer:
    """Say that something broke that nobody thought of; LiveKit delivers again."""
    event = came.event
    log.error("delivery.crashed", event_id=event.event_id, exc_info=exc)
    services.metrics.count_event(event.name)
    services.metrics.deliveries.inc("crashed")
    because = "a defect of ours; the log has more"
    services.journal.note(Delivered(came.received_at, 503, "crashed", because, event=event))
    return again(1.0)


def _count_stages(metrics: Metrics, came: _Verified, began: float, dispatched: float) -> None:
    """Count the stages around the dispatch; *began*: out of the queue."""
    participant = came.event.participant
    if participant is not None and participant.joined_at:
        late_s = came.received_at - participant.joined_at
        metrics.stages["webhook"].observe(max(0.0, late_s))
    metrics.stages["verify"].observe(came.verified - came.started)
    metrics.stages["queue"].observe(began - came.verified)
    metrics.answering.observe(dispatched - came.started)


def _refused(services: Services, exc: DeliveryRefused, received_at: float) -> Answer:
    metrics = services.metrics
    log.warning("delivery.refused", reason=exc.reason, status=exc.status)
    metrics.refused[exc.reason].inc()
    metrics.refused_at.labels(exc.reason).set(services.clock())
    metrics.deliveries.inc("refused")
    services.journal.note_refused(received_at, exc)
    return BY_STATUS[exc.status]


def _delivered(came: _Verified, outcome: Outcome, status: int) -> Delivered:
    trail, because = outcome.trail, outcome.because
    event, received_at, decided = came.event, came.received_at, outcome.decided
    verify_ms = round((came.verified - came.started) * 1000, 2)
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
