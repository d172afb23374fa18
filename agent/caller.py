"""Finds whom we talk to: who is in the room, who comes, or whom to dial."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog
from livekit import rtc
from livekit.agents import JobContext
from livekit.agents.utils.participant import wait_for_participant_attribute

from agent import job, outbound
from agent.errors import CallerMissing, NotReached
from personas.phone import parse

log = structlog.get_logger(__name__)

HUNG_UP: Final = "the caller hung up"
CALLER_TIMEOUT_S: Final = 60.0
RUNG_TIMEOUT_S: Final = 5.0  # for a caller who was in the room before our router sent us
ANSWER_TIMEOUT_S: Final = 10.0  # after that a caller who never becomes active is greeted anyway
RINGS_S: Final = outbound.RINGING_S  # for a callee whom somebody else dialed to pick up
ATTRIBUTE_OTHER_SIDE: Final = "sip.phoneNumber"


async def find(
    ctx: JobContext, brief: job.Brief, *, attempt: int, default_trunk: str | None
) -> rtc.RemoteParticipant | outbound.Dial:
    """Find the SIP participant if there is one, else the first to come.

    Or whom to dial, when the job says so and nobody else has dialed.

    Raises:
        CallerMissing: nobody came.
        NotReached: nobody can be dialed, or nobody whom another one dialed came.
    """
    if there := _sip_participant(ctx.room):
        return there
    plan = outbound.plan(brief, attempt=attempt, default_trunk=default_trunk, now=time.time())
    if isinstance(plan, outbound.Refuse):
        log.error("outbound.refused", because=plan.outcome.because, fix=plan.fix)
        raise NotReached(plan.outcome)
    if isinstance(plan, outbound.Dial) and not plan.grace_s:
        return plan
    if isinstance(plan, outbound.Dial):
        return await _who_comes(ctx, plan.grace_s) or plan
    if isinstance(plan, outbound.Await):
        if came := await _who_comes(ctx, plan.timeout_s):
            return came
        raise NotReached(plan.outcome)
    if came := await _who_comes(ctx, RUNG_TIMEOUT_S if rang(brief) else CALLER_TIMEOUT_S):
        return came
    raise CallerMissing("nobody came")


async def picked_up(room: rtc.Room, caller: rtc.RemoteParticipant, brief: job.Brief) -> bool:
    """Wait until the phone is picked up: what is said before may be lost. False: it was already.

    Raises:
        CallerMissing: the caller left first.
    """
    status = caller.attributes.get(outbound.ATTRIBUTE_CALL_STATUS)
    if status is None or status == "active":
        return False
    timeout_s = ANSWER_TIMEOUT_S if brief.direction == "inbound" else RINGS_S
    try:
        async with asyncio.timeout(timeout_s):
            await wait_for_participant_attribute(
                room,
                identity=caller.identity,
                attribute=outbound.ATTRIBUTE_CALL_STATUS,
                value="active",
            )
    except TimeoutError:
        log.warning("call.not_active", waited_s=timeout_s)
    except RuntimeError:
        raise CallerMissing(HUNG_UP) from None
    return True


def other_side(brief: job.Brief, attributes: Mapping[str, str]) -> str | None:
    """Give the number of whom we talk to, E.164, if it is known."""
    if brief.call is not None and brief.call.caller:
        return brief.call.caller
    number = parse(attributes.get(ATTRIBUTE_OTHER_SIDE) or brief.phone_number or "", None)
    return number.e164 if number else None


def rang(brief: job.Brief) -> bool:
    """Whether our router sent us to a caller who was ringing."""
    return brief.call is not None and brief.direction == "inbound"


def _sip_participant(room: rtc.Room) -> rtc.RemoteParticipant | None:
    sip = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    return next((one for one in room.remote_participants.values() if one.kind == sip), None)


async def _who_comes(ctx: JobContext, timeout_s: float) -> rtc.RemoteParticipant | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await ctx.wait_for_participant()
    except TimeoutError:
        return None
    except RuntimeError:
        raise CallerMissing("the room closed") from None
