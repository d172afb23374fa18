"""What replicas share through Redis, as text: a copy of a persona, the entry of a purge. No I/O."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from personas.errors import PersonaInvalid
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber, parse
from personas.sources.http import Fetched, check_number

MAX_SKEW_S: Final = 5.0  # between the clocks of two replicas
MAX_BYTES: Final = 1024 * 1024


class Copy(BaseModel):
    """What is kept in Redis."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    format: int = Field(default=1, ge=1, le=1)
    number: str
    digits: str | None
    region: str | None
    asked_as: str
    etag: str | None
    asked_at: float  # Unix seconds
    generation: int
    version: str
    raw: str


@dataclass(frozen=True, slots=True)
class Purge:
    """A purge that another replica asked for; ``number`` None: of every number."""

    number: PhoneNumber | None
    before: float  # Unix seconds; files older than this are meant


def read_copy(
    text: bytes, counters: Any, dialed: DialedNumber, *, number_fields: Sequence[str], now: float
) -> Fetched | None:
    """Read one copy; ``None``: it is void. *counters*: generation and floor; *now*: Unix seconds.

    Raises:
        PersonaInvalid: it is poisoned: too large, of another number, or not what it says it is.
        ValidationError: it has another shape.
    """
    if len(text) > MAX_BYTES:
        raise PersonaInvalid(reason="too_large")
    copy = Copy.model_validate_json(text)
    number = dialed.number
    if number is None or (copy.number, copy.digits, copy.region) != (
        number.e164,
        dialed.digits,
        dialed.region,
    ):
        raise PersonaInvalid(reason="other_number")
    notations = {dialed.digits, number.digits, number.national}
    if copy.asked_as.removeprefix("+") not in notations:
        raise PersonaInvalid(reason="other_number")
    persona = Persona.from_json(copy.raw)
    check_number((persona.document,), number_fields, copy.asked_as, dialed)
    if persona.version != copy.version:
        raise PersonaInvalid(reason="wrong_hash")
    age_s = now - copy.asked_at
    if age_s < -MAX_SKEW_S or not number_in(counters, 1) <= copy.generation <= number_in(
        counters, 0
    ):
        return None
    return Fetched(persona, copy.etag, copy.asked_as, age_s=max(0.001, age_s))


def hashed(text: str) -> str:
    """Hide *text* in a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def names_of(dialed: DialedNumber) -> tuple[str, str]:
    """Name the copies of the number, and among them the one of this notation."""
    e164 = dialed.number.e164 if dialed.number else ""
    return hashed(e164), hashed(f"{dialed.digits}|{dialed.region}")[:16]


def number_in(counters: Any, index: int) -> int:
    """Read one of the counters; 0 when it is none."""
    try:
        return int(counters[index] or 0)
    except (TypeError, ValueError):
        return 0


def purge_in(entry: bytes, fields: dict[bytes, bytes]) -> Purge | None:
    """Read one entry of the stream; ``None``: it is none of ours."""
    try:
        text = fields[b"number"].decode()
        before = int(entry.partition(b"-")[0]) / 1000 + MAX_SKEW_S
    except (KeyError, ValueError):
        return None
    number = parse(text) if text else None
    if text and (number is None or number.e164 != text):
        return None
    return Purge(number, before)
