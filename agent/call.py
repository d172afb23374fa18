"""One call: join, be elected, find the caller, let the conversation begin, leave.

It orders the steps and holds no rules: who we are is :mod:`agent.job`'s, what is said is
:mod:`agent.conversation`'s, who may speak is :mod:`agent.election`'s.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp
import structlog
from livekit import api, rtc
from livekit.agents import JobContext, utils
from opentelemetry.trace import get_tracer

from agent import caller, election, job, outbound, speech
from agent.caller import HUNG_UP
from agent.conversation import Conversation, prepare
from agent.errors import CallerMissing, NotReached, RoomUnreachable, TransferFailed
from agent.house import House
from agent.minutes import answered, opened
from agent.presence import Presence
from agent.report import reporter_for
from agent.settings import AgentSettings
from agent.speech.prepared import Prepared
from agent.stages import Stages
from agent.transfers import transfer
from agent.wording import filled
from personas.changes import TOPIC, Assembly
from personas.changes import read as read_change
from personas.dispositions import Disposition, Outcome
from personas.errors import BadMetadata
from personas.options import TransferTarget
from personas.reports import Closed, Problem
from personas.traces import context_of

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S: Final = 10.0
DELETE_TIMEOUT_S: Final = 5.0
REFERRED_TIMEOUT_S: Final = 5.0  # for a caller who was handed on to leave
CLOSED: Final = "the room closed"
ATTRIBUTE_DIALED: Final = "sip.trunkPhoneNumber"


class Call:
    """Holds one call in the room of one job."""

    def __init__(self, ctx: JobContext, settings: AgentSettings, house: House) -> None:
        self._ctx = ctx
        self._settings = settings
        self._house = house
        self._turn = job.turn_of(ctx.job.metadata)
        self._stages = Stages(clock=time.monotonic)
        self._presence = Presence()
        self._prepared: Prepared | None = None
        self._reporter = reporter_for(self._turn, settings)
        self._conversation: Conversation | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._deleting: asyncio.Task[None] | None = None
        self._reason = ""
        self._left_because = HUNG_UP
        self._elected = False
        self.outcome: Outcome | None = None  # of a call that we dialed, or were to dial

    async def hold(self) -> None:
        """Bring the conversation up to the greeting; what happens then happens on events."""
        with get_tracer("persona-router").start_as_current_span(
            "call.greet",
            context_of(self._turn.traceparent),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            await self._hold()
            span.set_attribute("call.id", self._turn.call_id)
            span.set_attribute("call.attempt", self._turn.attempt)
            for step, ms in self._stages:
                span.set_attribute(f"call.{step}_ms", ms)

    async def _hold(self) -> None:
        ctx = self._ctx
        ctx.add_shutdown_callback(self._closed)
        if self._turn.call_id:
            ctx.log_context_fields = {"call_id": self._turn.call_id}
        house = await self._house.persona()
        named = await self._house.by_id(job.persona_id_of(ctx.job.metadata))

        def read(
            room_metadata: str, caller_metadata: str, attributes: Mapping[str, str]
        ) -> job.Brief:
            brief = job.read(
                *(ctx.job.metadata, room_metadata, caller_metadata),
                house=house,
                personas_by_id=named,
                dialed=attributes.get(ATTRIBUTE_DIALED),
            )
            return filled(job.detected(brief, attributes))

        log.info("dispatch.received", attempt=self._turn.attempt)
        brief = read(ctx.job.room.metadata, "", {})
        parts = speech.choose(self._settings, brief)
        self._prepared = prepare(brief, parts)
        self._stages.reach("briefed")
        try:
            await self._join()
            if not await self._stand():
                return
            found = await caller.find(
                ctx,
                brief,
                attempt=self._turn.attempt,
                default_trunk=self._settings.sip_trunk_id,
            )
            if isinstance(found, outbound.Dial):
                await self._call_out(found, brief, parts)
                return
            final = read(ctx.room.metadata, found.metadata, found.attributes)
            if final != brief:
                brief, parts = final, speech.choose(self._settings, final)
            log.info("direction.detected", direction=brief.direction)
            await self._talk(found, brief, parts)
        except NotReached as exc:
            self._not_reached(exc.outcome)
        except CallerMissing as exc:
            log.info("call.not_held", reason=exc.reason)
            if caller.rang(brief) and not ctx.room.remote_participants:
                self.end(exc.reason)  # else the room stays for up to five minutes
            else:
                self._leave(exc.reason)
        except RoomUnreachable as exc:
            log.error("call.not_held", reason=exc.reason)
            self._leave(exc.reason)

    # ---- the steps ----

    async def _join(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._ctx.connect()
        except (TimeoutError, rtc.ConnectError) as exc:
            raise RoomUnreachable("the room did not let us in") from exc
        self._stages.reach("joined")

    async def _stand(self) -> bool:
        """Stand for election; whoever loses is on the way out when this returns.

        Agents of earlier attempts are gone before we go on: the caller never hears two.
        """
        room = self._ctx.room
        present = [rival for p in room.remote_participants.values() if (rival := self._rival(p))]
        verdict = election.on_arrival(self._turn.attempt, present)
        if isinstance(verdict, election.Leave):
            self._give_way(verdict)
            return False
        self._elected = True
        self._reporter.note(opened(room, self._ctx.job.room.sid))
        room.on("participant_connected", self._on_newcomer)
        room.on("disconnected", self._on_disconnected)
        if verdict.remove:
            await self._remove(verdict.remove)
        return not self._reason

    async def _call_out(self, order: outbound.Dial, brief: job.Brief, parts: speech.Speech) -> None:
        """Be ready to speak, dial, and greet when somebody has answered."""
        room = self._ctx.room
        log.info("direction.detected", direction=brief.direction)
        number = caller.other_side(brief, {})
        conversation = await self._begin(order.identity, brief, parts, number)
        self._reporter.note(answered(brief, number, None))  # who it is, if nobody picks up
        if self._is_over():  # nobody's phone shall ring for no one
            raise NotReached(Outcome(Disposition.CANCELED, "called off before it was dialed"))
        log.info("outbound.started")
        self.outcome = await outbound.dial(self._api(), room, order)
        if self._reason:
            return  # a later attempt took over meanwhile
        if not self.outcome.answered:
            raise NotReached(self.outcome)
        log.info("outbound.connected")
        self._stages.reach("active")
        room.on("participant_disconnected", partial(self._on_left, order.identity))
        if order.identity not in room.remote_participants:
            self.end(HUNG_UP)
        await self._greet(conversation)

    def _is_over(self) -> bool:
        return bool(self._reason) or not self._ctx.room.isconnected()

    def _not_reached(self, outcome: Outcome) -> None:
        self.outcome = outcome
        log.info(
            "outbound.failed",
            disposition=outcome.disposition,
            because=outcome.because,
            sip_status=outcome.sip_status,
        )
        self._reporter.note(Problem(what=outcome.because, code="not_reached"))
        self.end(outcome.because)

    async def _talk(
        self, other: rtc.RemoteParticipant, brief: job.Brief, parts: speech.Speech
    ) -> None:
        room = self._ctx.room
        room.on("participant_disconnected", partial(self._on_left, other.identity))
        if other.identity not in room.remote_participants:
            raise CallerMissing(HUNG_UP)
        number = caller.other_side(brief, other.attributes)
        conversation = await self._begin(other.identity, brief, parts, number)
        if await caller.picked_up(room, other, brief):
            self._stages.reach("active")
        await self._greet(conversation)

    async def _begin(
        self, identity: str, brief: job.Brief, parts: speech.Speech, other_side: str | None
    ) -> Conversation:
        """Start a conversation with whoever is, or will be, *identity* in the room."""
        room = self._ctx.room
        conversation = self._conversation = Conversation(
            brief,
            parts,
            ways=_Ways(self, identity),
            reporter=self._reporter,
            presence=self._presence,
            stages=self._stages,
            longest_s=self._settings.agent_max_call_s,
            other_side=other_side,
        )
        room.on("data_received", partial(self._on_data, Assembly()))
        await conversation.start(room, identity)
        self._stages.reach("session")
        log.info("session.started")
        self._spawn(self._presence.beat(room.local_participant))
        return conversation

    async def _greet(self, conversation: Conversation) -> None:
        if not self._reason:  # else a later attempt took over meanwhile, or the caller hung up
            await conversation.greet(
                self._prepared, through_model=self._settings.force_first_message
            )

    # ---- what happens in the room ----

    def _rival(self, participant: rtc.RemoteParticipant) -> election.Rival | None:
        return election.rival_in(
            participant,
            agent_name=self._settings.agent_to_dispatch,
            call_id=self._turn.call_id,
        )

    def _on_newcomer(self, participant: rtc.RemoteParticipant) -> None:
        if rival := self._rival(participant):
            verdict = election.on_newcomer(self._turn.attempt, rival)
            if isinstance(verdict, election.Leave):
                self._give_way(verdict)

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if reason == rtc.DisconnectReason.PARTICIPANT_REMOVED:
            self._give_way(election.Leave("removed from the room"))

    def _on_data(self, assembly: Assembly, packet: rtc.DataPacket) -> None:
        """Take a change of the persona: from the server alone, whose packets have no sender."""
        if packet.topic != TOPIC:
            return
        if packet.participant is not None:
            log.warning("change.refused", because="a participant sent it")
        elif (text := assembly.take(packet.data)) is not None:
            self._spawn(self._change(text))

    async def _change(self, text: str) -> None:
        """Have the conversation go on as the persona of *text*."""
        conversation, house = self._conversation, await self._house.persona()
        if conversation is None:
            return
        try:
            brief = job.changed(conversation.brief, read_change(text), house=house)
        except BadMetadata as exc:
            log.error("change.refused", because=exc.reason)
            self._reporter.note(Problem(what=f"a change of the persona was refused: {exc.reason}"))
            return
        brief = filled(brief)
        await conversation.change(brief, speech.choose(self._settings, brief))

    def _on_left(self, identity: str, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == identity:
            self.end(self._left_because)

    # ---- the end ----

    def _give_way(self, verdict: election.Leave) -> None:
        if not self._reason:
            log.info("election.lost", because=verdict.because, attempt=self._turn.attempt)
            self._elected = False
            self._leave(verdict.because)

    def _leave(self, reason: str) -> None:
        """Leave the room as it is."""
        self._reason = self._reason or reason
        self._ctx.shutdown(reason)

    def end(self, reason: str) -> None:
        """Leave and end the room for everyone, at once."""
        if not self._reason:
            self._reason = reason
            self._deleting = asyncio.create_task(self._delete_room(reason))

    async def _delete_room(self, reason: str) -> None:
        try:
            async with asyncio.timeout(DELETE_TIMEOUT_S):
                await self._api().room.delete_room(api.DeleteRoomRequest(room=self._ctx.room.name))
        except (TimeoutError, api.ServerError, aiohttp.ClientError) as exc:
            if not (isinstance(exc, api.ServerError) and exc.code == api.ServerErrorCode.NOT_FOUND):
                log.error("room.not_deleted", error=type(exc).__name__)
        self._ctx.shutdown(reason)

    async def refer(self, identity: str, target: TransferTarget) -> None:
        """Hand the caller with this *identity* on by SIP REFER, and leave when they have gone.

        Raises:
            TransferFailed: in words for the model.
        """
        self._left_because = "the caller was put through"
        try:
            await transfer(self._api(), self._ctx.room.name, identity, target)
        except TransferFailed:
            self._left_because = HUNG_UP
            raise
        await asyncio.sleep(REFERRED_TIMEOUT_S)  # the gateway ends the caller's leg
        self.end(self._left_because)

    async def _remove(self, identities: tuple[str, ...]) -> None:
        await election.remove(self._api(), self._ctx.room.name, identities)

    async def _closed(self) -> None:
        """Clean up after the session has closed and the room is left."""
        await utils.aio.cancel_and_wait(*self._tasks)
        if self._conversation is not None:
            await self._conversation.aclose()
        if self._elected:
            await self._reporter.keep(self._closing())
        if self._deleting is not None:
            await self._deleting
        if self._prepared is not None:
            await self._prepared.aclose()
        if self._elected and self._conversation is not None and self._conversation.minutes.turns:
            log.info(
                "call.ended",
                reason=self._reason or CLOSED,
                duration_s=round(self._stages.elapsed_s, 1),
                turns=self._conversation.minutes.turns,
                facts=self._conversation.facts.count,
            )
        await self._reporter.aclose()

    def _closing(self) -> Closed:
        """Say how the call ended."""
        reason, talk = self._reason or CLOSED, self._conversation
        if talk is None or talk.opened_at is None:
            how = Disposition.NO_ANSWER
            if self.outcome is not None and not self.outcome.answered:
                how = self.outcome.disposition
            return Closed(reason=reason, disposition=how)
        disposition = Disposition.VOICEMAIL if talk.met_machine else Disposition.ANSWERED
        if self._left_because != HUNG_UP and reason == self._left_because:
            disposition = Disposition.TRANSFERRED
        return Closed(
            reason=": ".join(filter(None, (reason, talk.detail))),
            disposition=disposition,
            duration_s=round(max(0.0, time.time() - talk.opened_at), 1),
            facts=talk.facts.count,
        )

    # ---- small steps ----

    def _api(self) -> api.LiveKitAPI:
        settings = self._settings
        return api.LiveKitAPI(
            settings.livekit_url,
            settings.livekit_api_key,
            settings.livekit_api_secret.get_secret_value(),
            session=utils.http_context.http_session(),
            failover=False,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(frozen=True, slots=True)
class _Ways:
    """What the conversation with one participant may do with its call."""

    call: Call
    identity: str

    def end(self, reason: str) -> None:
        self.call.end(reason)

    async def refer(self, target: TransferTarget) -> None:
        await self.call.refer(self.identity, target)
