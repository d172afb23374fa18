"""What LiveKit's configuration, our files and refused deliveries say about calls to come.

Rules over what was fetched: no I/O, no clock. Each returns its checks, one that is ok where nothing
is wrong.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from personas.phone import PhoneNumber, parse
from personas.sources.files import SUFFIXES
from router.routing import NumberingPlan

Level = Literal["ok", "warning", "error"]
Rules = Sequence[SIPDispatchRuleInfo]
Trunks = Sequence[SIPInboundTrunkInfo]

LATELY_S = 3600.0
MAX_NAMED = 5  # numbers or files that one finding names
_LIVEKIT_NUMBER = re.compile(r"\+?[\d\- ()]+", re.ASCII)
_FILE_OF_NUMBER = re.compile(r"\+?\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; *fix* says what to do unless the level is ok."""

    name: str
    level: Level
    said: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Deliveries of a running router: how many it accepted, and when it refused one last."""

    accepted: int
    last_at: Mapping[str, float]  # reason → Unix seconds


@dataclass(frozen=True, slots=True)
class Sought:
    """Which numbers have a persona of their own, as the sources said."""

    orphans: Sequence[str]  # E.164
    asked: int
    untold: int = 0  # no source could say


def named(items: Iterable[str]) -> str:
    """List *items*, at most ``MAX_NAMED`` of them by name."""
    unique = list(dict.fromkeys(items))
    more = len(unique) - MAX_NAMED
    return ", ".join(unique[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def numbers_of(trunk: SIPInboundTrunkInfo, plan: NumberingPlan) -> dict[str, PhoneNumber]:
    """Return the numbers of *trunk* that can be read, by how it writes them."""
    region = plan.region(trunk.sip_trunk_id)
    return {raw: number for raw in trunk.numbers if (number := parse(raw, region))}


# ---- the last resort ----


def last_resort(*, places: int, extra: bool, number: str) -> list[Check]:
    """Say what a caller gets whom no agent answers."""
    name = "last resort"
    if not places:
        said = "switched off: a caller whom no agent answers is sent back to the carrier"
        return [Check(name, "ok", said)]
    if not extra:
        said = "its extra is missing: a caller whom no agent answers is sent back to the carrier"
        level: Level = "error" if number else "warning"
        fix = "pip install 'persona-router[lastresort]', or LAST_RESORT_CALLS=0"
        return [Check(name, level, said, fix)]
    if number.startswith("+") and parse(number) is None:
        said = "FALLBACK_NUMBER is no number that can be dialed"
        return [Check(name, "error", said, "write it as E.164: +13125550100")]
    if not number:
        said = "callers whom no agent answers hear the house recording and a goodbye"
        return [Check(name, "ok", said)]
    return [Check(name, "ok", "callers whom no agent answers are handed on to FALLBACK_NUMBER")]


# ---- dispatch rules ----


def rules(found: Rules) -> list[Check]:
    """Find rules that dispatch agents themselves, and rules by which callers share a room."""
    name = "dispatch rules"
    if not found:
        fix = "create deploy/livekit/dispatch-rule.json"
        return [Check(name, "warning", "there is none: LiveKit refuses every call", fix)]
    checks = []
    for rule in found:
        if rule.room_config.agents:
            said = f"{rule.sip_dispatch_rule_id} dispatches agents by itself: two agents join"
            checks.append(Check(name, "error", said, "remove roomConfig.agents from the rule"))
        if shares_rooms(rule):
            said = f"{rule.sip_dispatch_rule_id} puts two callers into one room"
            fix = "use dispatchRuleIndividual, as deploy/livekit/dispatch-rule.json does"
            checks.append(Check(name, "error", said, fix))
    return checks or [Check(name, "ok", f"{len(found)}, none with agents of its own")]


def shares_rooms(rule: SIPDispatchRuleInfo) -> bool:
    """Tell whether two callers of *rule* can meet in one room."""
    kind = rule.rule.WhichOneof("rule")
    if kind == "dispatch_rule_callee":
        return not bool(rule.rule.dispatch_rule_callee.randomize)
    return bool(kind == "dispatch_rule_direct")


def number_rules(found: Rules, trunks: Trunks, plan: NumberingPlan) -> list[Check]:
    """Find rules that match numbers byte for byte, and numbers that no rule takes."""
    name = "rules by number"
    fix = "use one rule without numbers for the trunk: the router looks at the number"
    checks = []
    for rule in found:
        rule_id = rule.sip_dispatch_rule_id
        if rule.inbound_numbers:
            said = f"{rule_id} takes only callers written exactly as it lists them"
            checks.append(Check(name, "warning", f"{said}; a withheld number is none of them", fix))
        if rule.numbers:
            said = f"{rule_id} takes only calls to numbers written exactly as it lists them"
            otherwise = _written_otherwise(rule, trunks, plan)
            level: Level = "error" if otherwise and not _is_backed(rule, found) else "warning"
            also = f", and its trunk writes {named(otherwise)}" if otherwise else ""
            checks.append(Check(name, level, said + also, fix))
    for trunk in trunks:
        if untaken := _untaken(trunk, found, plan):
            said = f"no rule takes {named(untaken)} of {trunk.sip_trunk_id}"
            checks.append(Check(name, "error", said, fix))
    return checks or [Check(name, "ok", "no rule depends on how a carrier writes numbers")]


def _covers(rule: SIPDispatchRuleInfo, trunk_id: str) -> bool:
    return not rule.trunk_ids or trunk_id in rule.trunk_ids


def _takes_all(rule: SIPDispatchRuleInfo) -> bool:
    kind = rule.rule.WhichOneof("rule")
    pin = getattr(getattr(rule.rule, kind), "pin", "") if kind else ""
    return not (rule.numbers or rule.inbound_numbers or pin)


def _is_backed(rule: SIPDispatchRuleInfo, found: Rules) -> bool:
    """Tell whether calls that *rule* does not take reach a rule that takes every call."""
    open_rules = [other for other in found if _takes_all(other)]
    if any(not other.trunk_ids for other in open_rules):
        return True
    return bool(rule.trunk_ids) and all(
        any(trunk_id in other.trunk_ids for other in open_rules) for trunk_id in rule.trunk_ids
    )


def _written_otherwise(rule: SIPDispatchRuleInfo, trunks: Trunks, plan: NumberingPlan) -> list[str]:
    """Return what its trunks list in another notation than *rule* does."""
    answer = []
    for trunk in trunks:
        if not _covers(rule, trunk.sip_trunk_id):
            continue
        region = plan.region(trunk.sip_trunk_id)
        meant = {number for raw in rule.numbers if (number := parse(raw, region))}
        numbers = numbers_of(trunk, plan)
        exact = {numbers[raw] for raw in numbers if raw in rule.numbers}
        answer += [
            raw for raw, number in numbers.items() if number in meant and number not in exact
        ]
    return answer


def _untaken(trunk: SIPInboundTrunkInfo, found: Rules, plan: NumberingPlan) -> list[str]:
    covering = [rule for rule in found if _covers(rule, trunk.sip_trunk_id)]
    if not found or any(not rule.numbers for rule in covering):
        return []
    region = plan.region(trunk.sip_trunk_id)
    listed = [raw for rule in covering for raw in rule.numbers]
    taken = {parse(raw, region) for raw in listed} - {None}
    return [raw for raw in trunk.numbers if raw not in listed and parse(raw, region) not in taken]


# ---- trunks ----


def trunk_numbers(trunks: Trunks, plan: NumberingPlan) -> list[Check]:
    """Find numbers of trunks in a notation that LiveKit does not take for E.164."""
    checks = []
    for trunk in trunks:
        readable = numbers_of(trunk, plan)
        normal = {normalized(raw) for raw in trunk.numbers}
        if unread := [raw for raw in trunk.numbers if raw not in readable]:
            said = f"{trunk.sip_trunk_id} lists {named(unread)}, in which no number can be read"
            fix = "write it in E.164, or set DEFAULT_REGION or TRUNK_REGIONS"
            checks.append(Check("trunk numbers", "warning", said, fix))
        if national := [raw for raw, number in readable.items() if number.e164 not in normal]:
            said = (
                f"{trunk.sip_trunk_id} lists {named(national)}, not in E.164: LiveKit does not know"
                " the number when the carrier sends it in international form"
            )
            fix = "list the E.164 form too"
            checks.append(Check("trunk numbers", "warning", said, fix))
    return checks or [Check("trunk numbers", "ok", "those that are listed can be read")]


def normalized(raw: str) -> str:
    """Return *raw* as LiveKit compares the numbers of trunks: marks dropped, a plus before it."""
    if not _LIVEKIT_NUMBER.fullmatch(raw):
        return raw
    return "+" + re.sub(r"[ \-()]", "", raw).removeprefix("+")


def trunk_owners(trunks: Trunks, plan: NumberingPlan) -> list[Check]:
    """Find numbers for which two trunks ask: LiveKit then refuses the call."""
    name, checks = "trunk owners", []
    fix = "leave the number to one trunk, or tell them apart by allowedAddresses"
    for one, other in combinations(trunks, 2):
        if _told_apart(one, other):
            continue
        pair = f"{one.sip_trunk_id} and {other.sip_trunk_id}"
        theirs = set(numbers_of(other, plan).values())
        both = [number.e164 for number in numbers_of(one, plan).values() if number in theirs]
        if both:
            checks.append(Check(name, "error", f"{pair} both have {named(both)}", fix))
        elif not one.numbers and not other.numbers:
            checks.append(Check(name, "error", f"{pair} both take any number", fix))
    return checks or [Check(name, "ok", "no number belongs to two trunks")]


def _told_apart(one: SIPInboundTrunkInfo, other: SIPInboundTrunkInfo) -> bool:
    pairs = (
        (one.allowed_addresses, other.allowed_addresses),
        (one.allowed_numbers, other.allowed_numbers),
    )
    return any(a and b and set(a).isdisjoint(b) for a, b in pairs)


# ---- personas ----


def persona_files(names: Sequence[str], trunks: Trunks, plan: NumberingPlan) -> list[Check]:
    """Find files that no call can reach, and numbers that have several. *names*: of the folder."""
    name, checks = "persona files", []
    owned = {number.e164 for trunk in trunks for number in numbers_of(trunk, plan).values()}
    by_number: dict[str, list[str]] = {}
    never_read = []
    for file in sorted(names):
        stem, dot, suffix = file.rpartition(".")
        if dot + suffix not in SUFFIXES or not _FILE_OF_NUMBER.fullmatch(stem):
            continue
        e164 = f"+{stem.removeprefix('+')}"  # that is the number whose calls the file is read for
        at_home = parse(stem, plan.default_region)
        if e164 in owned or parse(e164) == at_home is not None:
            by_number.setdefault(e164, []).append(file)
        else:
            never_read.append(file)
    if never_read:
        said = f"{named(never_read)}: a name that is not E.164 is never looked for"
        checks.append(Check(name, "warning", said, "call it +<country code><number>.yaml"))
    for files in by_number.values():
        if len(files) > 1:
            said = f"{named(files)} are of one number, and one of them is used"
            checks.append(Check(name, "error", said, "remove the others"))
    any_number = not trunks or not all(trunk.numbers for trunk in trunks)
    strangers = [files[0] for e164, files in by_number.items() if e164 not in owned]
    if strangers and not any_number:
        said = f"{named(strangers)}: on no trunk, so nobody can call it"
        checks.append(Check(name, "warning", said, "add the number to its trunk"))
    return checks or [Check(name, "ok", f"{len(by_number)} of numbers")]


def orphans(sought: Sought) -> list[Check]:
    """Find numbers of trunks that no source has a persona for."""
    if sought.orphans:
        said = f"the house persona answers {named(sought.orphans)}: no source has a persona for it"
        fix = "add it to the persona API or to PERSONA_DIR"
        return [Check("orphan numbers", "warning", said, fix)]
    said = f"of the {sought.asked} numbers of trunks that were looked up, none is without a persona"
    if sought.untold:
        said = f"{said}; the persona API could not tell for {sought.untold}"
    return [Check("orphan numbers", "ok", said)]


# ---- webhooks ----

_KEY_FIXES: Mapping[str, tuple[str, str]] = {
    "unknown_key": (
        "signed with a key that is not ours",
        "let LiveKit sign with LIVEKIT_API_KEY (webhook.api_key), or set LIVEKIT_WEBHOOK_KEYS",
    ),
    "bad_signature": (
        "signed with our key and another secret",
        "set LIVEKIT_API_SECRET to the secret of that key in LiveKit's configuration",
    ),
}


def webhook_keys(refusals: Refusals | None, now: float) -> list[Check]:
    """Find deliveries that were refused lately because of their key. *now*: Unix seconds."""
    name, checks = "webhook key", []
    if refusals is None:
        return [Check(name, "ok", "no router answers on HOST and PORT: nothing to tell it by")]
    level: Level = "warning" if refusals.accepted else "error"
    for reason, (said, fix) in _KEY_FIXES.items():
        if now - refusals.last_at.get(reason, float("-inf")) < LATELY_S:
            also = "; others were accepted" if refusals.accepted else "; none was accepted"
            checks.append(Check(name, level, f"in the last hour deliveries were {said}{also}", fix))
    return checks or [Check(name, "ok", "no delivery was refused for its key in the last hour")]
