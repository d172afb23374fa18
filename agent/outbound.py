"""The outbound leg: dials the other side, once, and says what became of it.

Whether to dial is decided before (:func:`plan`, pure): somebody who is in the room is talked to,
and a call that may have been dialed already is looked for and never dialed again.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import aiohttp
from livekit import api, rtc
from livekit.agents.utils.participant import wait_for_participant_attribute

from agent.brief import Brief
from personas.contract import DialOrder
from personas.dispositions import Disposition, Outcome, of_answer, of_error, of_lost_answer

RINGING_S: Final = 80  # as long as LiveKit itself rings for a request that waits for the answer
DIAL_TIMEOUT_S: Final = RINGING_S + 15.0  # LiveKit answers by then, or never
AWAIT_S: Final = 60.0  # for a sender who dials, where we cannot
GRACE_S: Final = 3.0  # for a sender who dials to have dialed before we do
ATTRIBUTE_CALL_STATUS: Final = "sip.callStatus"
LOOK_S: Final = 10.0  # for a call that another agent of ours dialed to show in the room

#: As trunks take it: an emergency number or an extension is shorter.
_NUMBER: Final = re.compile(r"\+?[0-9]{6,15}")
_MARKS: Final = re.compile(r"[ ().\-/]")


@dataclass(frozen=True, slots=True)
class Dial:
    """Dial *number* over *trunk_id*, unless somebody comes within *grace_s*."""

    number: str
    trunk_id: str
    identity: str  # of the participant that LiveKit makes
    grace_s: float = 0.0
    caller_number: str = ""  # which the callee sees; empty: the trunk's own


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for somebody whom we do not dial; if nobody comes, *outcome* is what is known."""

    timeout_s: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Refuse:
    """Neither dial nor wait."""

    outcome: Outcome
    fix: str


Plan: TypeAlias = Dial | Await | Refuse


def plan(brief: Brief, *, attempt: int, default_trunk: str | None, now: float) -> Plan | None:
    """Say what to do for a job that names a number, when nobody is in the room; else ``None``.

    An order of our router is good for some seconds (*now* is Unix time): later it takes the call
    for one that was never made.

    A later attempt never dials: an earlier agent may have, and where it did, the participant of
    that call is in the room from before the phone rings.
    """
    order = brief.call.dial if brief.call is not None else None
    asked_for = order.number if order is not None else brief.phone_number
    if asked_for is None:
        return None
    if attempt > 1 or (brief.call is not None and brief.call.resume):
        return Await(
            LOOK_S, Outcome(Disposition.UNCERTAIN, "an earlier agent may have dialed, not again")
        )
    number = _MARKS.sub("", asked_for)
    if order is not None:
        return _ordered(order, number, order.trunk_id or default_trunk, now)
    trunk_id = brief.trunk_id or default_trunk
    if _NUMBER.fullmatch(number) and trunk_id:
        grace_s = GRACE_S if brief.others_may_dial else 0.0
        return Dial(number, trunk_id, f"out-{attempt}", grace_s)
    if brief.others_may_dial:
        return Await(AWAIT_S, Outcome(Disposition.NO_ANSWER, "nobody came, and we cannot dial"))
    return _refused(number)


def _ordered(order: DialOrder, number: str, trunk_id: str | None, now: float) -> Plan:
    """Say what to do with an order of our router."""
    if now > order.not_after:
        return Refuse(
            Outcome(Disposition.FAILED, "the order to dial came too late"),
            fix="see that agents join within seconds, and that the clocks agree",
        )
    if not _NUMBER.fullmatch(number) or not trunk_id:
        return _refused(number)
    return Dial(number, trunk_id, order.identity, caller_number=order.caller_number or "")


def _refused(number: str) -> Refuse:
    if not _NUMBER.fullmatch(number):
        return Refuse(
            Outcome(Disposition.INVALID_NUMBER, "phone_number is no number that can be dialed"),
            fix="send phone_number as E.164, +13125550100",
        )
    return Refuse(
        Outcome(Disposition.FAILED, "no outbound trunk"),
        fix="set SIP_TRUNK_ID to LiveKit's outbound trunk (ST_…), or send outbound_trunk_id",
    )


async def dial(client: api.LiveKitAPI, room: rtc.Room, order: Dial) -> Outcome:
    """Have LiveKit's SIP service dial, once, and wait for the answer; never raises.

    *client* is one without failover, which would dial again. When LiveKit's answer is lost, the
    room tells whether the callee answered.
    """
    outcome = await _request(client, room.name, order)
    if outcome.disposition is Disposition.UNCERTAIN:
        return await _look(room, order, outcome)
    return outcome


async def _request(client: api.LiveKitAPI, room: str, order: Dial) -> Outcome:
    request = api.CreateSIPParticipantRequest(
        sip_trunk_id=order.trunk_id,
        sip_call_to=order.number,
        room_name=room,
        participant_identity=order.identity,
        wait_until_answered=True,
        sip_number=order.caller_number,
    )
    request.ringing_timeout.seconds = RINGING_S
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await client.sip.create_sip_participant(request, timeout=DIAL_TIMEOUT_S)
    except api.ServerError as exc:
        return of_error(exc.code, exc.metadata)
    except aiohttp.ClientConnectorError:  # so the request was not sent
        return Outcome(Disposition.FAILED, "LiveKit cannot be reached")
    except (TimeoutError, aiohttp.ClientError):
        return of_lost_answer()
    return of_answer(waited=True)


async def _look(room: rtc.Room, order: Dial, known: Outcome) -> Outcome:
    """Look whether the callee answers, for as long as their phone may ring."""
    if order.identity not in room.remote_participants:
        return known
    try:
        async with asyncio.timeout(RINGING_S):
            await wait_for_participant_attribute(
                room, identity=order.identity, attribute=ATTRIBUTE_CALL_STATUS, value="active"
            )
    except (TimeoutError, RuntimeError):
        return known
    return Outcome(Disposition.ANSWERED, "the callee is in the room")
