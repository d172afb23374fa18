"""Reads compact HS256 tokens: LiveKit's on its webhooks, and those of calls. Pure.

It is not PyJWT because this path runs for every delivery: one algorithm, the clock an argument, and
a token compared as text, so that no second spelling of one signature is accepted.
"""

import hmac
from binascii import a2b_base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from personas.tokens import CALL_ISSUER, CALL_SCOPE, call_key
from personas.tokens import signature as signature_of
from router.errors import TokenRefused

MAX_CHARS = 4096
CALL_LEEWAY_S = 60.0
_EXACT_INT = 2**53
# base64url as base64, and what only the latter may hold as something that neither may
_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")

Keys = Mapping[str, bytes]  # issuer → secret


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
    if not hmac.compare_digest(signature_of(signed, secret), signature):
        raise TokenRefused("bad_signature")
    if now > _time(claims, "exp") + leeway_s:
        raise TokenRefused("expired")
    if now < _time(claims, "nbf") - leeway_s:
        raise TokenRefused("not_yet_valid")
    return claims


def call_of(token: str, livekit_secrets: Iterable[str], now: float) -> str:
    """Return the id of the call whose token this is, made with one of *livekit_secrets*.

    Raises:
        TokenRefused: it is no call's token, whatever else it may be.
    """
    refused = TokenRefused("unknown_key")
    for secret in livekit_secrets:
        try:
            claims = read(token, {CALL_ISSUER: call_key(secret)}, now, leeway_s=CALL_LEEWAY_S)
        except TokenRefused as exc:
            refused = exc
            if exc.reason != "bad_signature":
                break
            continue
        call_id = claims.get("call_id")
        if claims.get("scope") != CALL_SCOPE or not isinstance(call_id, str) or not call_id:
            raise TokenRefused("wrong_scope")
        return call_id
    raise refused


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
