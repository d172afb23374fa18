"""Deliveries as LiveKit makes them, for `trigger`, `explain`, tests and benchmarks."""

import secrets
import time

from router.deliveries import body
from router.routing import Event, Participant

__all__ = ["body", "caller_attributes", "joined"]


def caller_attributes(
    *, number: str = "", caller: str = "", trunk_id: str = "", call_id: str = ""
) -> dict[str, str]:
    """Return the attributes that the SIP gateway gives an inbound caller; "" hides a number."""
    attributes = {
        "sip.callID": call_id or f"SCL_{secrets.token_hex(6)}",
        "sip.callStatus": "ringing",
        "sip.hostname": "127.0.0.1",
        "sip.phoneNumber": caller,
        "sip.ruleID": "SDR_made_up",
        "sip.trunkID": trunk_id or "ST_made_up",
        "sip.trunkPhoneNumber": number,
    }
    return {name: value for name, value in attributes.items() if value}


def joined(
    *, number: str = "", caller: str = "", trunk_id: str = "", room: str = "call-explained"
) -> Event:
    """Return the event of a caller who joins *room*."""
    return Event(
        event_id="EV_made_up",
        name="participant_joined",
        created_at=time.time(),
        room=room,
        room_sid=f"RM_{room}",
        participant=Participant(
            sid="PA_made_up",
            identity="sip_caller",
            kind="SIP",
            attributes=caller_attributes(number=number, caller=caller, trunk_id=trunk_id),
        ),
    )
