"""What would happen if a campaign were launched now. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from router.campaigns.consent import Agreement, consents_of, standing
from router.campaigns.gate import Because, GateInputs, Spent, decide, is_spent
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known about numbers, at one time."""

    listed: Mapping[str, Sequence[str]]  # numbers that must not be called, with the wishes' scopes
    agreed: Mapping[str, Sequence[Agreement]]  # by number, beside what the list of leads says
    called: Mapping[str, Sequence[float]]
    spent: Spent
    own_numbers: frozenset[str]
    archived: bool
    call_s: float | None = None  # how long this campaign's calls took so far, on average


@dataclass(frozen=True, slots=True)
class Preview:
    """How many leads would be called, and why the others not."""

    total: int
    counts: Mapping[Because, int]
    next_at: float | None  # when the first of those outside hours may be called
    missing: Mapping[str, int]  # leads without a value, by placeholder
    lasts_s: float  # how long it takes to call those who may be called now


def inputs_of(lead: Lead, campaign: Campaign, known: Knowledge, at: float) -> GateInputs:
    """Put together what the gate asks for."""
    return GateInputs(
        number=lead.phone,
        at=at,
        campaign=campaign,
        archived=known.archived,
        timezone=lead.timezone,
        listed=known.listed.get(lead.phone, ()),
        consents=standing(consents_of(lead.variables), known.agreed.get(lead.phone, ())),
        called_at=known.called.get(lead.phone, ()),
        spent=known.spent,
        own_numbers=known.own_numbers,
    )


def preview(
    leads: Iterable[Lead],
    campaign: Campaign,
    known: Knowledge,
    policies: Mapping[str, Policy],
    at: float,
) -> Preview:
    """Ask the gate about every lead; those allowed use up the budget."""
    counts: Counter[Because] = Counter()
    without: Counter[str] = Counter()
    openings: list[float] = []
    spent = known.spent
    for lead in leads:
        verdict = decide(inputs_of(lead, campaign, known, at), policies)
        by_then = verdict.allowed and is_spent(campaign, spent)
        counts["over_budget" if by_then else verdict.because] += 1
        if verdict.allowed and not by_then:
            spent = spent.with_a_call()
        if verdict.next_at is not None:
            openings.append(verdict.next_at)
        without.update(missing(campaign.session_text, lead))
    return Preview(
        total=counts.total(),
        counts=dict(counts),
        next_at=min(openings, default=None),
        missing=dict(without),
        lasts_s=lasts_s(counts["allowed"], campaign, known.call_s or ASSUMED_CALL_S),
    )


def lasts_s(calls: int, campaign: Campaign, call_s: float) -> float:
    """Say how long *calls* of *call_s* take, at the campaign's pace and so many at once."""
    if not calls:
        return 0.0
    return max(calls / campaign.calls_per_second, calls * call_s / campaign.concurrency, call_s)


def sentence(found: Preview, bad_rows: int, next_slot: str) -> str:
    """Say it: ``1,204 leads: 850 now, 100 do-not-call, …``."""
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
    return f"{found.total:,} leads: {', '.join(parts)}"
