"""JSON, strictly: text that any reader would take, written without spaces. Pure: no I/O."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from personas.errors import PersonaInvalid

MAX_DEPTH: Final = 64  # far below what makes a JSON parser somewhere down the line give up
MAX_VALUES: Final = 100_000  # a few lines of YAML aliases can stand for billions of values

Json = dict[str, Any]


def parse_object(text: str | bytes) -> tuple[str, Json]:
    """Read *text* as one JSON object that any JSON reader would take, and give its exact text.

    A byte order mark and white space around it are dropped. Refused are NaN and infinities, lone
    surrogates, and documents deeper than ``MAX_DEPTH``.

    Raises:
        PersonaInvalid: ``reason`` is not_utf8, not_json, not_an_object, too_deep, too_big or
            lone_surrogate.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as exc:
        raise PersonaInvalid("the text is not UTF-8", reason="not_utf8") from exc
    raw = decoded.removeprefix("\ufeff").strip(" \t\r\n")
    try:
        parsed = json.loads(raw, parse_constant=_no_constant)
    except RecursionError as exc:
        raise PersonaInvalid("the document is nested too deep", reason="too_deep") from exc
    except ValueError as exc:
        where = f" (line {exc.lineno})" if isinstance(exc, json.JSONDecodeError) else ""
        raise PersonaInvalid(f"the text is not JSON{where}", reason="not_json") from exc
    if not isinstance(parsed, dict):
        raise PersonaInvalid("the document is not an object", reason="not_an_object")
    check_shape(parsed)
    try:
        raw.encode()
        compact(parsed).encode()
    except UnicodeEncodeError as exc:
        raise PersonaInvalid("it holds half a character", reason="lone_surrogate") from exc
    except ValueError as exc:  # 1e999 reads as an infinity
        raise PersonaInvalid("a number is out of range", reason="not_json") from exc
    return raw, parsed


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


def compact(document: Mapping[str, Any], *, sort_keys: bool = False) -> str:
    """Write *document* as JSON without spaces, UTF-8 characters as they are."""
    return json.dumps(
        document,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        sort_keys=sort_keys,
    )


def check_shape(document: Mapping[str, Any]) -> None:
    """Refuse, as PersonaInvalid, what would break a parser here or further on."""
    level: list[Any] = [document]
    seen = depth = 0
    while level:
        depth += 1
        below: list[Any] = []
        for value in level:
            children = value.values() if isinstance(value, Mapping) else value
            seen += len(children)
            if seen > MAX_VALUES:
                raise PersonaInvalid("the document has too many values", reason="too_big")
            below.extend(item for item in children if isinstance(item, Mapping | list | tuple))
        if depth > MAX_DEPTH:
            raise PersonaInvalid("the document is nested too deep", reason="too_deep")
        level = below
