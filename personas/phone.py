"""Phone numbers as people, carriers and URIs write them, read into E.164. Pure: no I/O.

It does not convert vanity letters, strip star codes or guess: what cannot be read for certain is
``None``, "unknown", and is never looked up as some other number.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat, ValidationResult

MAX_RAW_CHARS = 256

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_SCHEME = re.compile(r"(tel|sips?):(.*)", re.IGNORECASE | re.DOTALL)
_CONTEXT = re.compile(r"\+\d{1,14}", re.ASCII)
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")
_MARKS = frozenset("-./()[]\t\r\n")
_MARK_CATEGORIES = frozenset({"Zs", "Pd", "Cf"})  # spaces, dashes, invisible direction marks


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number in E.164; equal to another by that alone."""

    e164: str
    region: str | None = field(default=None, compare=False)  # "US"; None: of no single country

    @property
    def digits(self) -> str:
        """The number without its plus: ``18655701159``."""
        return self.e164[1:]

    @property
    def national(self) -> str:
        """The digits dialed at home, trunk prefix included: ``8655701159``, ``030901820``."""
        parsed = phonenumbers.parse(self.e164)
        return phonenumbers.normalize_digits_only(
            phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
        )


@dataclass(frozen=True, slots=True)
class DialedNumber:
    """What a caller dialed: as the trunk gave it, and what we read in it."""

    dialed_as: str  # at most MAX_RAW_CHARS characters of it
    number: PhoneNumber | None  # None: unknown
    region: str | None  # the region that national forms were read in

    @property
    def digits(self) -> str | None:
        """The digits in ``dialed_as``, no more and no less; ``None`` if it is not a number."""
        return digits_of(self.dialed_as)


def read_dialed(raw: str, region: str | None = None) -> DialedNumber:
    """Read *raw*, a number without a country code belonging to *region* (``US``)."""
    return DialedNumber(
        dialed_as=raw[:MAX_RAW_CHARS], number=parse(raw, region), region=_known(region)
    )


def parse(raw: str, region: str | None = None) -> PhoneNumber | None:
    """Read *raw* in any common notation; ``None`` when it is no possible number.

    With ``+`` or ``00`` the number has to be possible. Without, it has to be valid: at home in
    *region* first, then as if a plus stood before it. Never raises, whatever the text.
    """
    if len(raw) > MAX_RAW_CHARS:
        return None
    return _parse(raw, _known(region))


@functools.lru_cache(maxsize=4096)
def digits_of(raw: str) -> str | None:
    """Keep the digits as dialed, trunk and international prefixes included; no plus."""
    text = _dialed_part(raw[:MAX_RAW_CHARS])
    return ((_dialable(text) or "").removeprefix("+") or None) if text else None


@functools.lru_cache(maxsize=4096)
def _parse(raw: str, region: str | None) -> PhoneNumber | None:
    text = _dialed_part(raw)
    if text is None:
        return None
    kept = _dialable(text)
    dropped = _dialable(_TRUNK_ZERO.sub("", text)) if _TRUNK_ZERO.search(text) else None
    for digits, only_valid in (
        (kept, bool(dropped)),  # "+39 (0)6…" keeps its zero, so the full form comes first
        (dropped, False),
    ):
        if digits and (number := _read(digits, region, only_valid=only_valid)):
            return number
    return None


def _known(region: str | None) -> str | None:
    upper = region.upper() if region else None
    return upper if upper in phonenumbers.SUPPORTED_REGIONS else None


def _dialed_part(raw: str) -> str | None:
    text = _subscriber(unicodedata.normalize("NFKC", raw).strip())
    return None if text is None else unicodedata.normalize("NFKC", unquote(text))


def _subscriber(text: str) -> str | None:
    """Take the dialed part out of a ``tel:`` or ``sip:`` URI; other text is the dialed part."""
    if text.endswith(">") or ">;" in text:
        text = text[text.rfind("<") + 1 :].partition(">")[0]
    found = _SCHEME.fullmatch(text)
    if found is None:
        return text
    scheme, rest = found[1].lower(), found[2]
    if scheme == "tel":
        user, *parameters = rest.split(";")
    else:
        user_and_password, at, _host = rest.partition("@")
        if not at:
            return None  # a host alone dials nobody
        user, *parameters = user_and_password.partition(":")[0].split(";")
    context = _context(parameters)
    return context + user if context and not unquote(user).lstrip().startswith("+") else user


def _context(parameters: list[str]) -> str | None:
    """Find the global prefix of RFC 3966's ``phone-context``; a domain there says nothing."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "phone-context":
            value = re.sub(r"[-.() ]", "", unquote(value))
            return value if _CONTEXT.fullmatch(value) else None
    return None


def _dialable(text: str) -> str | None:
    """Keep the digits of *text* and one leading plus; ``None`` if it holds anything else."""
    kept: list[str] = []
    for char in text:
        if char.isdecimal():
            kept.append(str(unicodedata.decimal(char)))
        elif char == "+":
            if kept:
                return None
            kept.append(char)
        elif char not in _MARKS and unicodedata.category(char) not in _MARK_CATEGORIES:
            return None
    return "".join(kept)


def _read(digits: str, region: str | None, *, only_valid: bool) -> PhoneNumber | None:
    for text, home, must_be_valid in _readings(digits, region):
        if number := _accept(text, home, valid=must_be_valid or only_valid):
            return number
    return None


def _readings(digits: str, region: str | None) -> Iterator[tuple[str, str | None, bool]]:
    """List what *digits* may mean, likeliest first: text, region to read it in, must be valid."""
    if digits.startswith("+"):
        yield digits, None, False
    elif digits.startswith("00"):
        abroad = "+" + digits[2:]
        if region and digits.startswith(_long_prefix(region)):
            yield digits, region, True  # Australia dials 0011
        yield abroad, None, True
        if region:
            yield digits, region, True  # 001 and the like, where carriers have prefixes
        yield abroad, None, False
    else:
        if region:
            yield digits, region, True
        yield "+" + digits, None, True


def _long_prefix(region: str) -> tuple[str, ...]:
    metadata = PhoneMetadata.metadata_for_region(region)
    prefix = metadata.preferred_international_prefix if metadata else None
    return (prefix,) if prefix and prefix.startswith("00") and len(prefix) > len("00") else ()


def _accept(text: str, region: str | None, *, valid: bool) -> PhoneNumber | None:
    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return None
    if valid and not phonenumbers.is_valid_number(parsed):
        return None
    e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if not _E164.fullmatch(e164) or phonenumbers.parse(e164) != parsed:
        return None  # a trunk prefix too many: E.164 that reads as another number is no number
    home = phonenumbers.region_code_for_number(parsed)
    return PhoneNumber(e164, home if home in phonenumbers.SUPPORTED_REGIONS else None)
