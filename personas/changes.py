"""A persona that changes during a call: what the router sends into the room. Pure: no I/O.

It goes to the agent alone, as data packets of the server itself. A packet holds little, so the
change is cut into parts, which LiveKit delivers in order.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from personas.contract import Origin
from personas.errors import BadMetadata, PersonaInvalid
from personas.json_text import parse_object
from personas.model import Persona

TOPIC: Final = "persona.changed"
MAX_PART_CHARS: Final = 3_000  # of the document: at most 12 KB of UTF-8, a little more as JSON
MAX_PARTS: Final = 400


@dataclass(frozen=True, slots=True)
class Change:
    """From now on this persona speaks in this call."""

    call_id: str
    persona: Persona
    origin: Origin


def write(change: Change) -> str:
    """Give *change* as text."""
    origin = change.origin.model_dump(mode="json")
    about = json.dumps({"call_id": change.call_id, "origin": origin}, ensure_ascii=False)
    return f'{about[:-1]},"persona":{change.persona.raw}}}'


def read(text: str) -> Change:
    """Read a change.

    Raises:
        BadMetadata: it is none; ``version_mismatch``: the persona is not the one it names.
    """
    try:
        _, document = parse_object(text)
        persona = Persona.from_document(document["persona"])
        change = Change(
            str(document["call_id"]), persona, Origin.model_validate(document["origin"])
        )
    except (PersonaInvalid, ValidationError, KeyError, TypeError) as exc:
        raise BadMetadata("this is no change of a persona", reason="not_a_change") from exc
    if change.origin.version != persona.version:
        raise BadMetadata("the persona is not the one it names", reason="version_mismatch")
    return change


def parts_of(text: str, change_id: str) -> list[bytes]:
    """Cut *text* into packets."""
    pieces = [text[at : at + MAX_PART_CHARS] for at in range(0, len(text), MAX_PART_CHARS)]
    return [
        json.dumps(
            {"id": change_id, "part": number, "of": len(pieces), "text": piece}, ensure_ascii=False
        ).encode("utf-8", "replace")
        for number, piece in enumerate(pieces)
    ]


@dataclass(slots=True)
class Assembly:
    """Puts packets together again; a new change drops what is left of an older one."""

    _id: str = ""
    _pieces: list[str] = field(default_factory=list)

    def take(self, packet: bytes) -> str | None:
        """Take one packet; give the text when it is whole, else ``None``."""
        try:
            part: Any = json.loads(packet)
            change_id, number, of, text = (part[key] for key in ("id", "part", "of", "text"))
        except (ValueError, RecursionError, KeyError, TypeError):
            return None
        if not isinstance(text, str) or not isinstance(of, int) or not 1 <= of <= MAX_PARTS:
            return None
        if number == 0:
            self._id, self._pieces = str(change_id), []
        if str(change_id) != self._id or number != len(self._pieces):
            return None
        self._pieces.append(text)
        if len(self._pieces) < of:
            return None
        whole, self._id, self._pieces = "".join(self._pieces), "", []
        return whole
