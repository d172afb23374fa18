"""The bytes of a delivery as LiveKit writes them."""

import json
import secrets
import time
from typing import Any


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
