"""Deliveries as LiveKit makes them, for `trigger`, `explain`, tests and benchmarks."""

import json
import secrets
import time
from typing import Any

from router.routing import Event, Participant


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


def body(
    event: str = "participant_joined",
    *,
    room: str,
    room_sid: str,
    attributes: dict[str, str] | None = None,
    identity: str = "sip_caller",
    kind: str = "SIP",
    now: float | None = None,
) -> bytes:
    """Return the bytes of one delivery; *attributes* None means an event without participant."""
    seconds = str(int(time.time() if now is None else now))
    document: dict[str, Any] = {
        "event": event,
        "room": {
            "sid": room_sid,
            "name": room,
            "emptyTimeout": 300,
            "departureTimeout": 20,
            "creationTime": seconds,
        },
        "id": f"EV_{secrets.token_hex(6)}",
        "createdAt": seconds,
    }
    if attributes is not None:
        document["participant"] = {
            "sid": f"PA_{secrets.token_hex(6)}",
            "identity": identity,
            "state": "ACTIVE",
            "joinedAt": seconds,
            "version": 1,
            "region": "local",
            "kind": kind,
            "attributes": attributes,
        }
    return json.dumps(document).encode()
