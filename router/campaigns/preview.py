"""What would happen if a campaign were launched now. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from router.campaigns.gate import Because, GateInputs, GateVerdict, Spent, decide, is_spent
from router.campaigns.leads import Lead
from router.campaigns.model import Campaign
from router.campaigns.policy import Policy
from router.campaigns.script import missing

ASSUMED_CALL_S: Final = 60.0  # ringing and talking, of a campaign that has not called yet
WORDS: Final[Mapping[Because, str]] = {
    "allowed": "now",
    "not_a_number": "not a number",
    "emergency": "emergency numbers",
    "number_type": "numbers of a kind that is not called",
    "own_number": "our own numbers",
    "country": "in countries that are not called",
    "do_not_call": "do-not-call",
    "no_consent": "without consent",
    "too_often": "called often enough",
    "outside_hours": "outside hours",
    "unknown_time_zone": "in an unknown time zone",
    "campaign_archived": "of an archived campaign",
    "over_budget": "over the budget",
    "not_known": "of which too little is known",
    "gate_failed": "that could not be checked",
}


@dataclass(frozen=True, slots=True)
class Preview:
    """How many leads would be called, and why the others not."""

    total: int
    counts: Mapping[Because, int]
    next_at: float | None  # when the first of those outside hours may be called
    missing: Mapping[str, int]  # leads without a value, by placeholder
    lasts_s: float  # how long it takes to call those who may be called now


@dataclass(frozen=True, slots=True)
class Asked:
    """What the gate says of one lead, and what the script lacks of it."""

    verdict: GateVerdict
    missing: tuple[str, ...]  # placeholders, as they are written


def ask(lead: Lead, inputs: GateInputs, policies: Mapping[str, Policy]) -> Asked:
    """Ask the gate about *lead*."""
    return Asked(decide(inputs, policies), missing(inputs.campaign.session_text, lead))


@dataclass(slots=True, kw_only=True)
class Counting:
    """Counts leads in the order in which they would be called; those allowed use up the budget."""

    campaign: Campaign
    spent: Spent
    call_s: float | None = None  # how long this campaign's calls took so far, on average
    _counts: Counter[Because] = field(default_factory=Counter)
    _missing: Counter[str] = field(default_factory=Counter)
    _next_at: float | None = None

    def add(self, asked: Asked) -> None:
        """Count one."""
        verdict = asked.verdict
        by_then = verdict.allowed and is_spent(self.campaign, self.spent)
        self._counts["over_budget" if by_then else verdict.because] += 1
        if verdict.allowed and not by_then:
            self.spent = self.spent.with_a_call()
        if verdict.next_at is not None:
            self._next_at = min(verdict.next_at, self._next_at or verdict.next_at)
        self._missing.update(asked.missing)

    def so_far(self) -> Preview:
        """Say what has come out."""
        return Preview(
            total=self._counts.total(),
            counts=dict(self._counts),
            next_at=self._next_at,
            missing=dict(self._missing),
            lasts_s=lasts_s(self._counts["allowed"], self.campaign, self.call_s or ASSUMED_CALL_S),
        )


def lasts_s(calls: int, campaign: Campaign, call_s: float) -> float:
    """Say how long *calls* of *call_s* take, at the campaign's pace and so many at once."""
    if not calls:
        return 0.0
    return max(calls / campaign.calls_per_second, calls * call_s / campaign.concurrency, call_s)


def sentence(found: Preview, leads: int, bad_rows: int, next_slot: str) -> str:
    """Say it: ``1,204 leads: 850 now, 100 do-not-call, …``; *leads* are all of the list."""
    parts = [f"{found.counts.get('allowed', 0):,} now"]
    for because, words in WORDS.items():
        count = found.counts.get(because, 0)
        if because == "allowed" or not count:
            continue
        slot = f" (next slot {next_slot})" if because == "outside_hours" and next_slot else ""
        parts.append(f"{count:,} {words}{slot}")
    if bad_rows:
        parts.append(f"{bad_rows:,} bad rows")
    parts += [f"{count:,} missing {name}" for name, count in sorted(found.missing.items())]
    of_all = "" if found.total >= leads else f" of {leads:,}"
    return f"{found.total:,}{of_all} leads: {', '.join(parts)}"
