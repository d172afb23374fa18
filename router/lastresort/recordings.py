"""Which recording a caller hears, by language. It reads names of files, never their sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHIPPED: Final = Path(__file__).parent / "wav"
DEFAULT_LANGUAGE: Final = "en"
GOODBYE: Final = "-goodbye"


@dataclass(frozen=True, slots=True)
class Recordings:
    """What is said first, and what is said before the end; ``None``: a tone, and nothing."""

    sorry: Path | None
    goodbye: Path | None


def choose(language: str | None, folder: Path | None) -> Recordings:
    """Choose the recordings for *language* (``de``, ``de-AT``): from *folder*, else the shipped.

    Both come from one place: two voices after each other would be a riddle to the caller.
    """
    for name in _names(language):
        for place in (folder, SHIPPED):
            if place is not None and (sorry := place / f"{name}.wav").is_file():
                goodbye = place / f"{name}{GOODBYE}.wav"
                return Recordings(sorry, goodbye if goodbye.is_file() else None)
    return Recordings(None, None)


def _names(language: str | None) -> Iterator[str]:
    """Name the files that fit, the closest first. What is no language tag names none."""
    parts = (language or "").replace("_", "-").split("-")
    if all(part.isascii() and part.isalnum() for part in parts):
        yield "-".join(parts)
        yield parts[0].lower()
    yield DEFAULT_LANGUAGE
