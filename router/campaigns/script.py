"""A campaign's script with a lead's values in its placeholders. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from personas.model import PLACEHOLDER, PLACEHOLDER_DEFAULTS, placeholder_name
from router.campaigns.leads import COLUMNS, Lead

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
_SHORT: Final = {"prospect name": "name", "company name": "company"}


def missing(script: str, lead: Lead) -> tuple[str, ...]:
    """Name the placeholders for which *lead* has no value, as they are written."""
    values = _values(lead)
    found = {one[0]: None for one in PLACEHOLDER.finditer(script)}
    return tuple(text for text in found if not values.get(_name(text)))


def rendered(script: str, lead: Lead) -> str:
    """Fill *script*: a value, else its default; a sentence that has neither is left out."""
    values = _values(lead)
    kept = []
    for sentence in _SENTENCE.split(script):
        names = [placeholder_name(one) for one in PLACEHOLDER.finditer(sentence)]
        if all(values.get(name) or PLACEHOLDER_DEFAULTS.get(name) for name in names):
            kept.append(
                PLACEHOLDER.sub(
                    lambda one: (
                        values.get(placeholder_name(one))
                        or PLACEHOLDER_DEFAULTS[placeholder_name(one)]
                        or ""
                    ),
                    sentence,
                )
            )
    return " ".join(kept)


def _name(text: str) -> str:
    found = PLACEHOLDER.fullmatch(text)
    return placeholder_name(found) if found else ""


def _values(lead: Lead) -> Mapping[str, str]:
    known = {name.replace("_", " "): getattr(lead, name) for name in COLUMNS}
    further = {name.replace("_", " "): value for name, value in lead.variables.items()}
    return {**further, **{_SHORT[name]: known[name] for name in _SHORT}, **known}
