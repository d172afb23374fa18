"""What a lead has agreed to, as its columns say. Pure.

``consent`` names it, ``consent_at`` says when, ``consent_source`` from where. All three are needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Consent:
    """One agreement."""

    what: str
    since: float  # Unix seconds
    source: str


def consents_of(variables: Mapping[str, str]) -> tuple[Consent, ...]:
    """Read a lead's agreements; what is incomplete is none."""
    source = variables.get("consent_source", "").strip()
    try:
        at = datetime.fromisoformat(variables.get("consent_at", "").strip())
        since = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return ()
    words = variables.get("consent", "").replace(";", ",").replace("|", ",").split(",")
    return tuple(
        Consent(word.strip().lower(), since, source) for word in words if word.strip() and source
    )
