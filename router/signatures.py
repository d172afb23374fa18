"""Signs outgoing webhooks as the Standard Webhooks specification 1.0.0 has it. Pure: no clock.

What is signed is ``<webhook-id>.<webhook-timestamp>.<body>``, with HMAC-SHA256 and the bytes that
the base64 after ``whsec_`` stands for. The header may hold several signatures with spaces between
them: after a change of secret the old one signs too for a while.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32  # the specification wants 24 to 64


def new_secret(random: bytes) -> str:
    """Write *random* bytes as a secret."""
    return PREFIX + base64.b64encode(random).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature, ``v1,<base64>``."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers(
    secrets: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> Mapping[str, str]:
    """Return the three headers of one try, signed with each of *secrets*."""
    signatures = (signature(secret, message_id, timestamp, body) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
