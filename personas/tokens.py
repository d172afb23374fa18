"""Compact HS256 tokens that we sign: LiveKit's API calls, and the agent's reports. Pure.

The standard library's HMAC does the cryptography, as it does for PyJWT.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic_core import to_json

CALL_ISSUER: Final = "persona-router-call"
CALL_SCOPE: Final = "call"
CALL_TOKEN_S: Final = 12 * 3600.0  # a call of four hours, and a router that was away for eight


def encode(part: bytes) -> bytes:
    """Return *part* as base64url without padding."""
    return urlsafe_b64encode(part).rstrip(b"=")


_HEADER = encode(b'{"alg":"HS256","typ":"JWT"}')


def sign(claims: Mapping[str, Any], secret: bytes) -> str:
    """Return a token that says *claims*."""
    signed = _HEADER + b"." + encode(to_json(claims))
    return (signed + b"." + signature(signed, secret)).decode()


def signature(signed: bytes, secret: bytes) -> bytes:
    """Return the signature of *signed*, encoded."""
    made = _keyed(secret).copy()
    made.update(signed)
    return encode(made.digest())


@lru_cache(maxsize=8)
def _keyed(secret: bytes) -> hmac.HMAC:
    return hmac.new(secret, digestmod="sha256")


@lru_cache(maxsize=8)
def call_key(livekit_secret: str) -> bytes:
    """Return the key of calls' tokens, which router and agent both derive from LiveKit's secret.

    As it is another key, no token of LiveKit's is one of a call, and none of a call is LiveKit's.
    """
    return hmac.digest(livekit_secret.encode(), b"persona-router/call-token/1", "sha256")


def call_token(call_id: str, livekit_secret: str, now: float) -> str:
    """Return a token that lets its bearer report on this call, and use its tools, alone."""
    claims = {
        "iss": CALL_ISSUER,
        "scope": CALL_SCOPE,
        "call_id": call_id,
        "nbf": int(now),
        "exp": int(now + CALL_TOKEN_S),
    }
    return sign(claims, call_key(livekit_secret))
