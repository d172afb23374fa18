"""Compact HS256 tokens, as LiveKit signs its webhooks and wants its API calls signed. Pure.

The standard library's HMAC does the cryptography, as it does for PyJWT. The rest is here because
this path runs for every delivery: one algorithm, the clock an argument, and a token compared as
text, so that no second spelling of one signature is accepted.
"""

import hmac
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from router.errors import TokenRefused

MAX_CHARS = 4096
_EXACT_INT = 2**53
# base64url as base64, and what only the latter may hold as something that neither may
_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")

Keys = Mapping[str, bytes]  # issuer → secret


def _encode(part: bytes) -> bytes:
    return urlsafe_b64encode(part).rstrip(b"=")


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')


def sign(claims: Mapping[str, Any], secret: bytes) -> str:
    """Return a token that says *claims*."""
    signed = _HEADER + b"." + _encode(to_json(claims))
    return (signed + b"." + _signature(signed, secret)).decode()


def _signature(signed: bytes, secret: bytes) -> bytes:
    return _encode(hmac.digest(secret, signed, "sha256"))


def read(token: str, keys: Keys, now: float, *, leeway_s: float) -> dict[str, Any]:
    """Return what *token* says if one of *keys* signed it and it is valid at *now* (Unix seconds).

    Raises:
        TokenRefused: and nothing else, whatever the text.
    """
    try:
        signed, _, signature = token.encode("ascii").rpartition(b".")
    except UnicodeEncodeError:
        raise TokenRefused("bad_token") from None
    header, _, payload = signed.partition(b".")
    if not header or not payload or not signature or len(token) > MAX_CHARS:
        raise TokenRefused("bad_token")
    if not _is_hs256(header):
        raise TokenRefused("bad_algorithm")
    claims = _decode(payload)
    issuer = claims.get("iss")
    secret = keys.get(issuer) if isinstance(issuer, str) else None
    if secret is None:
        raise TokenRefused("unknown_key")
    if not hmac.compare_digest(_signature(signed, secret), signature):
        raise TokenRefused("bad_signature")
    if now > _time(claims, "exp") + leeway_s:
        raise TokenRefused("expired")
    if now < _time(claims, "nbf") - leeway_s:
        raise TokenRefused("not_yet_valid")
    return claims


@lru_cache(maxsize=8)  # one sender writes one and the same header
def _is_hs256(header: bytes) -> bool:
    parsed = _decode(header)
    return parsed.get("alg") == "HS256" and "crit" not in parsed


def _decode(segment: bytes) -> dict[str, Any]:
    padded = segment.translate(_STANDARD) + b"=" * (-len(segment) % 4)
    try:
        parsed = from_json(a2b_base64(padded, strict_mode=True), cache_strings="keys")
    except ValueError:
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
