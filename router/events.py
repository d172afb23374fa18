"""LiveKit webhook bytes → verified event. No I/O; the clock and the keys are arguments.

A delivery is ours when its token (HS256) is signed by a configured key, is valid now, and carries
the SHA-256 of exactly these bytes. Participants' and agents' tokens of the same key carry no such
hash and are refused. LiveKit's own receiver (`livekit.api.WebhookReceiver`) is not used: it cannot
be given a clock or several keys, raises errors of four libraries, and takes most of its time
building a protobuf message of which five fields are needed here.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic_core import from_json

from personas.tokens import sign as made
from router import tokens
from router.errors import DeliveryRefused, TokenRefused
from router.routing import Egress, Event, Participant

MAX_BODY_BYTES = 64 * 1024
LEEWAY_S = 60
TOKEN_S = 300  # how long LiveKit's own tokens live
INT64_DIGITS = 19
NANOSECONDS = 1_000_000_000


def verify(authorization: str | None, body: bytes, now: float, keys: tokens.Keys) -> Event:
    """Return the event that *body* holds if *authorization* proves that LiveKit sent it.

    *authorization* is the bare token (a ``Bearer`` prefix is accepted), *now* Unix seconds.

    Raises:
        DeliveryRefused: and nothing else, whatever the bytes. Status 401 when it is not ours,
            413 when it is too large, 400 when it is signed and still makes no sense.
    """
    if len(body) > MAX_BODY_BYTES:
        raise DeliveryRefused("too_large", status=413)
    _authenticate(authorization, body, now, keys)
    return _event(_document(body))


def _authenticate(authorization: str | None, body: bytes, now: float, keys: tokens.Keys) -> None:
    if not authorization:
        raise DeliveryRefused("no_token", status=401)
    try:
        claims = tokens.read(authorization.removeprefix("Bearer "), keys, now, leeway_s=LEEWAY_S)
    except TokenRefused as exc:
        raise DeliveryRefused(exc.reason, status=401) from None
    digest = claims.get("sha256")
    if not isinstance(digest, str) or not digest:
        raise DeliveryRefused("no_body_hash", status=401)
    if digest != b64encode(hashlib.sha256(body).digest()).decode():
        raise DeliveryRefused("other_body", status=401)


def _rubbish(reason: str) -> NoReturn:
    raise DeliveryRefused(reason, status=400)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:  # too deep, half a surrogate pair and no UTF-8 too
        _rubbish("not_json")
    if not isinstance(document, dict):
        _rubbish("not_an_object")
    return document


def _event(document: Mapping[str, Any]) -> Event:
    room = _object(document, "room")
    participant = _object(document, "participant")
    event_id, name = _text(document, "id"), _text(document, "event")
    if not event_id or not name:
        _rubbish("no_event")
    return Event(
        event_id=event_id,
        name=name,
        created_at=_seconds(document.get("createdAt", "0")),
        room=_text(room, "name"),
        room_sid=_text(room, "sid"),
        participant=_participant(participant) if participant else None,
        room_created_at=_moment(room, "creationTimeMs", "creationTime"),
        egress=_egress(_object(document, "egressInfo")) if name.startswith("egress_") else None,
    )


def _egress(document: Mapping[str, Any]) -> Egress:
    results = document.get("fileResults")
    file = results[0] if isinstance(results, list) and results else {}
    if not isinstance(file, dict):
        _rubbish("wrong_type")
    return Egress(
        egress_id=_text(document, "egressId"),
        status=_text(document, "status") or "EGRESS_STARTING",  # default values are left out
        location=_text(file, "location"),
        started_at=_seconds(document.get("startedAt", "0")) / NANOSECONDS,
        ended_at=_seconds(document.get("endedAt", "0")) / NANOSECONDS,
        error=_text(document, "error"),
    )


def _participant(document: Mapping[str, Any]) -> Participant:
    attributes = _object(document, "attributes")
    for value in attributes.values():
        if not isinstance(value, str):
            _rubbish("wrong_type")
    return Participant(
        sid=_text(document, "sid"),
        identity=_text(document, "identity"),
        kind=_text(document, "kind") or "STANDARD",
        attributes=attributes,
        joined_at=_moment(document, "joinedAtMs", "joinedAt"),
        left_because=_text(document, "disconnectReason"),
    )


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _rubbish("wrong_type")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        _rubbish("wrong_type")
    return value


def _seconds(value: object) -> float:
    """Read a 64-bit integer, which LiveKit writes as a string."""
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and len(value) <= INT64_DIGITS
    ):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return float(value)
    _rubbish("wrong_type")


def _moment(document: Mapping[str, Any], milliseconds: str, seconds: str) -> float:
    """Read a time that nothing depends on, as exactly as it is given: 0 where it makes no sense."""
    try:
        return _seconds(document.get(milliseconds, "0")) / 1000 or _seconds(
            document.get(seconds, "0")
        )
    except DeliveryRefused:
        return 0.0


def sign(body: bytes, now: float, key: str, secret: bytes) -> str:
    """Return the token that LiveKit would send with *body*: what ``verify`` accepts for 5 min."""
    issued = int(now)
    digest = b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": key, "iat": issued, "nbf": issued, "exp": issued + TOKEN_S, "sha256": digest}
    return made(claims, secret)
