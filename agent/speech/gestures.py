"""Which tool the scripted model uses on which words. Pure.

``/name {"argument": 1}`` uses any tool by its name, so that every tool can be tried without keys.
"""

import json
import re
from collections.abc import Container
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_BY_NAME: Final = re.compile(r"\s*/(?P<name>[a-z][a-z0-9_]{0,63})\s*(?P<arguments>\{.*\})?\s*")


@dataclass(frozen=True, slots=True)
class Gestures:
    """The words of one language that call for a tool."""

    tells: tuple[str, ...]
    asks_time: tuple[str, ...]


GESTURES: Final = MappingProxyType(
    {
        "en": Gestures(
            ("my email is", "my e-mail is", "my name is", "my number is"),
            ("what time is it", "what day is it"),
        ),
        "de": Gestures(
            ("meine e-mail ist", "mein name ist", "meine nummer ist"),
            ("wie spät ist es", "welcher tag ist"),
        ),
        "es": Gestures(("mi correo es", "me llamo", "mi número es"), ("qué hora es",)),
        "fr": Gestures(("mon adresse est", "je m'appelle", "mon numéro est"), ("quelle heure",)),
        "hi": Gestures(("मेरा ईमेल", "मेरा नाम", "मेरा नंबर"), ("कितने बजे",)),
    }
)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a tool."""

    name: str
    arguments: str = "{}"  # JSON


def use_for(heard: str, *, language: str, leaving: bool, offered: Container[str]) -> Use | None:
    """Pick the tool that *heard* calls for; *leaving*: these words say goodbye."""
    if by_name := _BY_NAME.fullmatch(heard):
        return Use(by_name["name"], by_name["arguments"] or "{}")
    words = GESTURES.get(language, GESTURES["en"])
    folded = heard.casefold()
    if leaving and "end_call" in offered:
        return Use("end_call", json.dumps({"reason": "the caller said goodbye"}))
    if "share_information" in offered and any(tell in folded for tell in words.tells):
        told = {"information": heard, "category": "contact_details"}
        return Use("share_information", json.dumps(told, ensure_ascii=False))
    if "get_current_time" in offered and any(ask in folded for ask in words.asks_time):
        return Use("get_current_time")
    return None
