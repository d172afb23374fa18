"""Answer one ringing call: decide, claim, look up, dispatch. It holds no rules of its own."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import structlog
from opentelemetry.trace import Span, Tracer, get_tracer, set_span_in_context

from personas.contract import (
    ATTRIBUTE_ATTEMPT,
    ATTRIBUTE_CALL,
    CallConfig,
    Origin,
    Report,
    Ring,
    decode,
    encode,
)
from personas.found import Found
from personas.lookup import PersonaLookup
from personas.model import Persona
from personas.phone import DialedNumber
from personas.traces import is_heard, traceparent
from router.dispatch import Dispatcher
from router.errors import DispatchRefused, DispatchUnknown, StoreUnavailable
from router.metrics import Metrics
from router.recall import Recall
from router.records.calls import Dispatched
from router.records.claims import Claim, Claims, Held, Settled, SpareClaims, Taken
from router.records.journal import Decided
from router.records.owed import Owed, Owing
from router.routing import Answer, Decision, Event, Ignore, InboundCall, Refuse, decide
from router.trunks import Trunks

log = structlog.get_logger(__name__)

Verdict = Literal["dispatched", "duplicate", "ignored", "refused", "unknown", "held", "failed"]

_DECIDED: Mapping[str, Decided] = {"ignored": "ignore", "refused": "refuse"}
#: What LiveKit shall deliver again: nothing was dispatched, and it is not known to be under way.
AGAIN: frozenset[Verdict] = frozenset({"held", "failed"})


@dataclass(slots=True)
class Trail:
    """What is known of a call when its delivery has been handled; filled stage by stage."""

    dialed: DialedNumber
    call_id: str | None = None  # None: it was not claimed
    attempt: int | None = None
    origin: Origin | None = None
    stages: dict[str, float] = field(default_factory=dict)  # milliseconds, in their order


class Outcome(NamedTuple):
    """What became of one delivery, and when LiveKit shall deliver it again, if it shall."""

    verdict: Verdict
    because: str
    again_in_s: float = 1.0
    trail: Trail | None = None  # None: it was no call to answer

    @property
    def decided(self) -> Decided:
        """What the rule said of the caller, whatever came of it then."""
        return _DECIDED.get(self.verdict, "answer")


@dataclass(frozen=True, slots=True)
class Again:
    """How a further attempt differs from the first."""

    agent_name: str | None = None  # None: the configured agent
    resume: bool = False  # the caller has been spoken to


FIRST = Again()


@dataclass(frozen=True, slots=True)
class _Attempt:
    claim: Claim
    webhook_at: float
    stages: Mapping[str, float]  # milliseconds of what came before the dispatch
    again: Again = FIRST


@dataclass(frozen=True, kw_only=True, slots=True)
class InboundCalls:
    """Turns ringing calls into dispatched agents. *clock* gives Unix seconds."""

    trunks: Trunks
    claims: Claims
    spare: SpareClaims  # for while the database is away
    owed: Owed  # what it shall hear of when it is back
    personas: PersonaLookup
    dispatcher: Dispatcher
    metrics: Metrics
    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = field(default=time.perf_counter)
    note_call: Callable[[Dispatched], None] = lambda _call: None
    recall: Recall | None = None
    report_for: Callable[[str], Report | None] = lambda _call_id: None  # by call id
    tracer: Tracer = field(default=get_tracer("persona-router"))

    def sort(self, event: Event) -> Answer | Outcome:
        """Return the call to ``answer`` that *event* is, or what became of it if it is none."""
        decision = decide(event, self.trunks.plan)
        if isinstance(decision, Refuse):
            log.warning("call.refused", event_id=event.event_id, because=decision.because)
            return Outcome("refused", decision.because)
        if isinstance(decision, Ignore):
            return Outcome("ignored", decision.because)
        return decision

    async def take(self, event: Event) -> Outcome:
        """Dispatch an agent if *event* is a caller who needs one."""
        sorted_ = self.sort(event)
        return sorted_ if isinstance(sorted_, Outcome) else await self.answer(sorted_, event)

    async def answer(self, decision: Answer, event: Event) -> Outcome:
        """Dispatch an agent to the caller that *event* is, as ``sort`` has said."""
        decision = await self._learn(decision, event)
        trail = Trail(decision.call.dialed)
        if not is_heard(self.tracer):
            return (await self._answer(decision, event, trail))._replace(trail=trail)
        with self.tracer.start_as_current_span(
            "call.answer", record_exception=False, set_status_on_exception=False
        ) as span:
            started_ns = time.time_ns()
            outcome = await self._answer(decision, event, trail)
            if span.is_recording():
                self._show(span, started_ns, outcome.verdict, trail)
        return outcome._replace(trail=trail)

    def _show(self, span: Span, started_ns: int, verdict: Verdict, trail: Trail) -> None:
        """Put what was measured on the trace: no number, no room, no name."""
        span.set_attribute("call.verdict", verdict)
        span.set_attribute("call.id", trail.call_id or "")
        span.set_attribute("call.attempt", trail.attempt or 0)
        if trail.origin is not None:
            span.set_attribute("persona.source", trail.origin.source)
            span.set_attribute("persona.version", trail.origin.version)
        context = set_span_in_context(span)
        for stage, took_ms in trail.stages.items():
            part = self.tracer.start_span(f"call.{stage}", context, start_time=started_ns)
            started_ns += int(took_ms * 1_000_000)
            part.end(started_ns)

    async def dispatch_again(self, event: Event, claim: Claim, again: Again) -> Outcome:
        """Dispatch the next attempt of a call that is claimed already, as *event* shows it now.

        A caller who has been spoken to hears the persona that spoke to them, not today's.
        """
        decision = await self._decide(event)
        if not isinstance(decision, Answer):
            return Outcome("ignored", decision.because)
        trail = Trail(decision.call.dialed, claim.call_id, claim.attempt)
        with self.tracer.start_as_current_span(
            "call.answer_again", record_exception=False, set_status_on_exception=False
        ) as span:
            started, started_ns = self.timer(), time.time_ns()
            found = await self._persona_again(decision.call, claim, again)
            self.metrics.lookups[found.origin.source].inc()
            trail.origin = found.origin
            looked_up, trail.stages["persona"] = self._stage("persona", started)
            attempt = _Attempt(claim, self.clock(), {}, again)
            outcome = await self._dispatch(decision, found, attempt)
            trail.stages["dispatch"] = round((self.timer() - looked_up) * 1000, 1)
            if span.is_recording():
                self._show(span, started_ns, outcome.verdict, trail)
        return outcome._replace(trail=trail)

    async def persona_of(self, event: Event, call_id: str) -> Found | None:
        """Return who speaks, or spoke, to the caller of *event*; None: it is no call to answer."""
        decision = await self._decide(event)
        if not isinstance(decision, Answer):
            return None
        return await self._spoke(call_id) or await self.personas.find(decision.call.dialed)

    async def _persona_again(self, call: InboundCall, claim: Claim, again: Again) -> Found:
        kept = await self._spoke(claim.call_id) if again.resume else None
        return kept or await self.personas.find(call.dialed)

    async def _spoke(self, call_id: str) -> Found | None:
        """Return the persona that a call was sent before, as it was then."""
        try:
            spoke = await self.claims.spoke(call_id)
        except StoreUnavailable as exc:
            log.error("snapshot.not_read", call_id=call_id, reason=exc.reason)
            return None
        if spoke is None:
            return None
        if spoke.persona is None:
            log.error("snapshot.missing", call_id=call_id, version=spoke.version)
            return None
        origin = Origin(
            source=spoke.source,
            version=spoke.version,
            because="the call goes on with the persona that it began with",
        )
        return Found(spoke.persona, origin)

    async def _decide(self, event: Event) -> Decision:
        decision = decide(event, self.trunks.plan)
        return await self._learn(decision, event) if isinstance(decision, Answer) else decision

    async def _learn(self, answer: Answer, event: Event) -> Answer:
        """Look at the trunks again where the number is hidden."""
        if answer.call.dialed.dialed_as:
            return answer
        learned = decide(event, await self.trunks.learn())
        return learned if isinstance(learned, Answer) else answer

    async def _answer(self, answer: Answer, event: Event, trail: Trail) -> Outcome:
        call, webhook_at = answer.call, self.clock()
        started = self.timer()
        taken = await self._claim(call, event)
        claimed = self.timer()
        trail.call_id, trail.stages["claim"] = taken.call_id, _ms(claimed - started)
        if not isinstance(taken, Claim):
            self.metrics.stages["claim"].observe(claimed - started)
        if isinstance(taken, Settled):
            log.info("call.duplicate", call_id=taken.call_id, state=taken.state)
            return Outcome("duplicate", f"the call is {taken.state} already")
        if isinstance(taken, Held):
            log.info("call.held", call_id=taken.call_id, for_s=round(taken.for_s, 1))
            # LiveKit delivers five times: with a shorter wait the tries are used up before the
            # lease of a router that died has run out, and the phone rings on.
            because = "the call is being dispatched at this moment"
            return Outcome("held", because, again_in_s=taken.for_s)
        found = await self.personas.find(call.dialed)
        looked_up = self.timer()
        trail.attempt, trail.origin = taken.attempt, found.origin
        trail.stages["persona"] = _ms(looked_up - claimed)
        stages = {f"{stage}_ms": took_ms for stage, took_ms in trail.stages.items()}
        outcome = await self._dispatch(answer, found, _Attempt(taken, webhook_at, stages))
        trail.stages["dispatch"] = _ms(self.timer() - looked_up)
        self.metrics.lookups[found.origin.source].inc()  # counted when the caller waits no more
        self.metrics.stages["claim"].observe(claimed - started)
        self.metrics.stages["persona"].observe(looked_up - claimed)
        return outcome

    async def _claim(self, call: InboundCall, event: Event) -> Taken:
        names: Mapping[str, Any] = {"room_sid": call.room_sid, "sip_call_id": call.sip_call_id}
        if (known := self.spare.known(**names)) is not None:
            return known
        try:
            return await self.claims.take(room=call.room, **names)
        except StoreUnavailable as exc:
            # A ringing phone cannot wait for a database: the election in the room still protects.
            log.error("call.not_claimed", event_id=event.event_id, reason=exc.reason)
            self.metrics.spare_claims.inc()
            return self.spare.take(**names)

    async def _dispatch(self, answer: Answer, found: Found, attempt: _Attempt) -> Outcome:
        call, claim = answer.call, attempt.claim
        memory: Sequence[Any] = ()
        if self.recall is not None:
            memory = await self.recall.memory(
                found.persona,
                call_id=claim.call_id,
                caller=call.caller,
                dialed=call.dialed.number.e164 if call.dialed.number else None,
                resume=attempt.again.resume,
            )
        started = self.timer()
        config = call_config(
            call,
            call_id=claim.call_id,
            attempt=claim.attempt,
            origin=explained(found.origin, answer.because),
            ring=Ring(webhook_at=attempt.webhook_at, dispatched_at=self.clock()),
            resume=attempt.again.resume,
            report=self.report_for(claim.call_id),
            memory=memory,
        )
        # In the loop's next turn, when the request is on its way: a caller is ringing.
        asyncio.get_running_loop().call_soon(self._note, call, config, found.persona)
        encoded = encode(found.persona, config, self.personas.house_persona)
        sent, source = found.persona, config.origin.source
        if encoded.dropped:
            log.warning("call.metadata_cut", call_id=claim.call_id, dropped=encoded.dropped)
            document, kept = decode(encoded.text)
            sent, source = Persona.from_document(document), kept.origin.source if kept else source
        attributes = {ATTRIBUTE_ATTEMPT: str(claim.attempt), ATTRIBUTE_CALL: claim.call_id}
        try:
            dispatch_id = await self.dispatcher.dispatch(
                call.room, encoded.text, attributes, attempt.again.agent_name
            )
        except DispatchRefused as exc:
            return await self._failed(claim, exc.reason)
        except DispatchUnknown as exc:
            owing = Owing(call, claim, "unknown", source, sent)
            return await self._unknown(owing, exc.reason)
        _, dispatch_ms = self._stage("dispatch", started)
        self.metrics.dispatches["done"].inc()
        log.info(
            "call.dispatched",
            call_id=claim.call_id,
            attempt=claim.attempt,
            origin=found.origin.source,
            version=found.origin.version,
            because=config.origin.because,
            webhook_at=attempt.webhook_at,
            **attempt.stages,
            dispatch_ms=dispatch_ms,
        )
        owing = Owing(call, claim, "dispatched", source, sent, dispatch_id)
        if claim.spare:
            self.owed.add(owing)
        else:
            # The agent is on its way all the same. Should LiveKit deliver again after the lease,
            # the election in the room keeps one of the two agents.
            self.claims.dispatched(
                claim,
                dispatch_id=dispatch_id,
                persona_source=source,
                persona_version=sent.version,
                persona=sent,
                failed=lambda exc: self._owe(owing, exc),
            )
        return Outcome("dispatched", config.origin.because)

    def _note(self, call: InboundCall, config: CallConfig, persona: Persona) -> None:
        self.note_call(_noted(call, config, persona))

    async def _failed(self, claim: Claim, reason: str) -> Outcome:
        self.metrics.dispatches["refused"].inc()
        log.error("call.dispatch_refused", call_id=claim.call_id, reason=reason)
        self.spare.release(claim)
        try:
            await self.claims.release(claim)
        except StoreUnavailable as exc:
            log.error("call.not_released", call_id=claim.call_id, reason=exc.reason)
        return Outcome("failed", f"LiveKit did not take the dispatch: {reason}")

    async def _unknown(self, owing: Owing, reason: str) -> Outcome:
        claim = owing.claim
        self.metrics.dispatches["unknown"].inc()
        log.error("call.dispatch_unknown", call_id=claim.call_id, reason=reason)
        if claim.spare:
            self.owed.add(owing)
        else:
            try:
                await self.claims.unknown(claim, persona_source=owing.source, persona=owing.persona)
            except StoreUnavailable as exc:
                self._owe(owing, exc)
        return Outcome("unknown", f"LiveKit may have taken the dispatch: {reason}")

    def _owe(self, owing: Owing, exc: StoreUnavailable) -> None:
        log.error("call.not_recorded", call_id=owing.claim.call_id, reason=exc.reason)
        self.owed.add(owing)

    def _stage(self, stage: str, started: float) -> tuple[float, float]:
        """End a stage; return the time and the stage's milliseconds."""
        now = self.timer()
        self.metrics.stages[stage].observe(now - started)
        return now, _ms(now - started)


def _ms(took_s: float) -> float:
    return round(took_s * 1000, 1)


def explained(origin: Origin, number_because: str) -> Origin:
    """Put the reason for the number before the reason for the persona."""
    return Origin(
        source=origin.source,
        age_s=origin.age_s,
        version=origin.version,
        because=f"{number_because}; {origin.because}",
    )


def call_config(
    call: InboundCall,
    *,
    call_id: str,
    attempt: int,
    origin: Origin,
    ring: Ring,
    resume: bool = False,
    report: Report | None = None,
    memory: Sequence[Any] = (),
) -> CallConfig:
    """Return what the agent is told about *call* beside the persona."""
    number = call.dialed.number
    return CallConfig(
        call_id=call_id,
        direction="inbound",
        room=call.room,
        dialed_number=number.e164 if number else None,
        dialed_as=call.dialed.dialed_as or None,
        caller=call.caller,
        origin=origin,
        traceparent=traceparent(),
        attempt=attempt,
        ring=ring,
        resume=resume,
        report=report,
        memory=list(memory),
    )


def _noted(call: InboundCall, config: CallConfig, persona: Persona) -> Dispatched:
    """Return what the call's record begins with."""
    return Dispatched(
        call_id=config.call_id,
        attempt=config.attempt,
        room=call.room,
        room_sid=call.room_sid,
        sip_call_id=call.sip_call_id,
        caller=call.caller,
        dialed_number=config.dialed_number or config.dialed_as,
        trunk=call.trunk_id,
        persona_name=persona.persona_name,
        persona_version=config.origin.version,
        persona_origin=config.origin.source,
        persona_because=config.origin.because,
        language=persona.language,
        started_at=config.ring.webhook_at,
    )
