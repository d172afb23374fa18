"""The languages of the pages: which one a reader wants, and its words, read from .po files."""

from collections.abc import Mapping
from functools import cache, lru_cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from types import MappingProxyType
from typing import Final
from zoneinfo import available_timezones

from babel.core import negotiate_locale
from babel.messages.pofile import read_po

FOLDER: Final = Path(__file__).parent / "translations"
LANGUAGES: Final = MappingProxyType({"en": "English", "de": "Deutsch"})
DEFAULT: Final = "en"
COOKIE: Final = "persona_language"
ZONE_COOKIE: Final = "persona_zone"
YEAR_S: Final = 365 * 86_400
_MAX_WISHES: Final = 20


def language_of(headers: Mapping[str, str]) -> str:
    """Return the language that a reader chose, else the first that their browser asks for."""
    chosen = _cookie(headers.get("cookie", ""), COOKIE)
    if chosen in LANGUAGES:
        return chosen
    wishes = headers.get("accept-language", "").split(",", _MAX_WISHES)[:_MAX_WISHES]
    weighed = sorted(wishes, key=_weight, reverse=True)
    asked = [wish.partition(";")[0].strip() for wish in weighed]
    return negotiate_locale(asked, list(LANGUAGES), sep="-") or DEFAULT


def language_cookie(language: str, *, secure: bool) -> str:
    """Return the Set-Cookie header that keeps the choice."""
    return _kept(COOKIE, language, secure=secure)


def zone_of(headers: Mapping[str, str]) -> str:
    """Return the time zone that a reader chose; empty: their browser's, and UTC without scripts."""
    chosen = _cookie(headers.get("cookie", ""), ZONE_COOKIE).replace(".", "/")
    return chosen if chosen and chosen in _zones() else ""


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())  # it reads folders


def zone_cookie(zone: str, *, secure: bool) -> str:
    """Return the Set-Cookie header that keeps a time zone, or forgets it."""
    return _kept(ZONE_COOKIE, zone.replace("/", "."), secure=secure)  # cookies hold no slash


def _kept(name: str, value: str, *, secure: bool) -> str:
    tail = "; Secure" if secure else ""
    for_s = YEAR_S if value else 0
    return f"{name}={value}; Path=/; Max-Age={for_s}; HttpOnly; SameSite=Lax{tail}"


@lru_cache
def words(language: str) -> Mapping[str, str]:
    """Return what the English of the pages is in *language*."""
    path = FOLDER / f"{language}.po"
    if not path.exists():
        return {}
    with path.open("rb") as file:
        catalog = read_po(file, locale=language)
    return {str(one.id): str(one.string) for one in catalog if one.id and one.string}


def translate(language: str, text: str) -> str:
    """Return *text* in *language*; as it is, where nobody has translated it."""
    return words(language).get(text, text)


def _weight(wish: str) -> float:
    _, _, quality = wish.partition(";q=")
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header)
    except CookieError:
        return ""
    return found[name].value if name in found else ""
