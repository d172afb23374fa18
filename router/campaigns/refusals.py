"""Why nobody was called, in words, and what to do about it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: By the gate's word, and ``being_called``.
FIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not_a_number": "write the number with its country code, as +4930901820",
        "emergency": "emergency numbers are never called",
        "number_type": "premium, special and unknown kinds of numbers are never called",
        "own_number": "it is one of our own numbers; call another",
        "country": "name the country in the campaign, if you may call there",
        "do_not_call": "this person does not want to be called; leave it at that",
        "no_consent": "add consent, consent_at and consent_source to the lead, if there is one",
        "too_often": "this person was called often enough; try again on another day",
        "outside_hours": "call when it is day there; the campaign's window may be wider too",
        "unknown_time_zone": "fill in the lead's timezone, as Europe/Berlin",
        "campaign_archived": "take the campaign out again, or choose another",
        "over_budget": "raise the campaign's budget, if more calls are wanted",
        "not_known": "the database did not say all that has to be known; try again",
        "gate_failed": "the check itself failed; the router's log says more",
        "being_called": "a call to this number goes on; wait for its end",
    }
)


def fix_of(because: str) -> str:
    """Say what to do about a refusal."""
    return FIXES.get(because, "nobody was called; the router's log says more")
