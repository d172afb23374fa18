"""What somebody has agreed to, and what of it stands. Pure.

In a list of leads ``consent`` names it, ``consent_at`` says when, ``consent_source`` from where.
All three are needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Consent:
    """One agreement."""

    what: str
    since: float  # Unix seconds
    source: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is known of one number and one thing to agree to; times are Unix seconds."""

    number: str  # E.164
    what: str
    since: float | None  # None: only a withdrawal is known
    source: str | None
    withdrawn_at: float | None
    via: str
    noted_at: float

    @property
    def stands(self) -> bool:
        """Whether it was given, and not taken back since."""
        return bool(standing((), (self,)))


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


def standing(of_lead: Iterable[Consent], known: Sequence[Agreement]) -> tuple[Consent, ...]:
    """Give what stands of a lead's own agreements and of those *known* beside them.

    What was given before or when it was taken back does not: an old list of leads that is imported
    again brings nothing back.
    """
    kept = [
        Consent(one.what, one.since, one.source or "") for one in known if one.since is not None
    ]
    taken_back = {one.what: one.withdrawn_at for one in known if one.withdrawn_at is not None}
    return tuple(
        one for one in (*of_lead, *kept) if one.since > taken_back.get(one.what, float("-inf"))
    )
