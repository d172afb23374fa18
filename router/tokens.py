"""Compact HS256 tokens, as LiveKit signs its webhooks and wants its API calls signed. Pure.

The standard library's HMAC does the cryptography, as it does for PyJWT. The rest is here because
this path runs for every delivery: one algorithm, the clock an argument, and a token compared as
text, so that no second spelling of one signature is accepted.
"""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from router.errors import TokenRefused

MAX_CHARS = 4096
_PARTS = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_EXACT_INT = 2**53

Keys = Mapping[str, bytes]  # issuer → secret


def _encode(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')


def sign(claims: Mapping[str, Any], secret: bytes) -> str:
    """Return a token that says *claims*."""
    signed = f"{_HEADER}.{_encode(json.dumps(claims, separators=(',', ':')).encode())}"
    return f"{signed}.{_encode(hmac.digest(secret, signed.encode(), 'sha256'))}"


def read(token: str, keys: Keys, now: float, *, leeway_s: float) -> dict[str, Any]:
    """Return what *token* says if one of *keys* signed it and it is valid at *now* (Unix seconds).

    Raises:
        TokenRefused: and nothing else, whatever the text.
    """
    parts = _PARTS.fullmatch(token) if len(token) <= MAX_CHARS else None
    if parts is None:
        raise TokenRefused("bad_token")
    header, payload, signature = parts.groups()
    if not _is_hs256(header):
        raise TokenRefused("bad_algorithm")
    claims = _decode(payload)
    issuer = claims.get("iss")
    secret = keys.get(issuer) if isinstance(issuer, str) else None
    if secret is None:
        raise TokenRefused("unknown_key")
    made = _encode(hmac.digest(secret, f"{header}.{payload}".encode(), "sha256"))
    if not hmac.compare_digest(made, signature):
        raise TokenRefused("bad_signature")
    if now > _time(claims, "exp") + leeway_s:
        raise TokenRefused("expired")
    if now < _time(claims, "nbf") - leeway_s:
        raise TokenRefused("not_yet_valid")
    return claims


@lru_cache(maxsize=8)  # one sender writes one and the same header
def _is_hs256(header: str) -> bool:
    parsed = _decode(header)
    return parsed.get("alg") == "HS256" and "crit" not in parsed


def _decode(segment: str) -> dict[str, Any]:
    try:
        parsed = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        raise TokenRefused("bad_token") from None
    if not isinstance(parsed, dict):
        raise TokenRefused("bad_token")
    return parsed


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(f"no_{name}")
    if not -_EXACT_INT < value < _EXACT_INT:  # infinities and NaN too
        raise TokenRefused(f"no_{name}")
    return value
