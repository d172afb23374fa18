"""What the alerts of the watch mean and what to do, in words. Pure.

The rules for Prometheus (deploy/prometheus) say more, and wake people; here it stands where
operators look.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from router.records.entries import Raised
from router.records.hooks import Hook


class Meaning(NamedTuple):
    """What an action of the watch says about the system."""

    level: str  # error: callers were not served; warning: they were, later
    said: str
    fix: str


MEANINGS: Final[Mapping[str, Meaning]] = {
    "adopted": Meaning(
        "warning",
        "no webhook came for a caller, whom the sweep over the rooms found",
        "see webhook.urls in LiveKit's configuration, and the way from there to the router",
    ),
    "dispatched_again": Meaning(
        "warning",
        "no agent came in time, and another was sent",
        "see whether workers run under the name AGENT_TO_DISPATCH, and have room: AGENT_MAX_CALLS",
    ),
    "resumed": Meaning(
        "warning",
        "an agent left its caller or froze, and another went on",
        "see where the agents' logs end: killed, out of memory, or restarted without waiting",
    ),
    "mismatched": Meaning(
        "error",
        "an agent spoke as the house persona, because what reached it is not what was sent",
        "compare the versions of router and agent; look for what changes metadata between them",
    ),
    "last_resort": Meaning(
        "error",
        "no agent came, time after time, and the router answered itself",
        "start agents; see that somebody answers at FALLBACK_NUMBER",
    ),
    "given_up": Meaning(
        "error",
        "a caller was removed, because no agent came and nothing else could answer",
        "start agents; install the extra lastresort and set FALLBACK_NUMBER",
    ),
}


def shown(raised: Sequence[Raised]) -> list[dict[str, str]]:
    """Return alerts as the pages show the doctor's warnings."""
    found = []
    for one in raised:
        level, said, fix = MEANINGS[one.action]
        times = "once" if one.times == 1 else f"{one.times} times"
        check = one.action.replace("_", " ")
        found.append({"level": level, "check": check, "said": f"{said}; {times}", "fix": fix})
    return found


def of_hooks(known: Sequence[Hook], since: float) -> list[dict[str, str]]:
    """Return, shown likewise, what was switched off from *since* on because it took nothing."""
    fix = "see Webhooks, Outgoing; when it takes something again, switch it on"
    return [
        {
            "level": "warning",
            "check": "hook disabled",
            "said": f"{hook.note or hook.id} is told nothing any more: it has "
            + ("said that it is gone" if hook.disabled_because == "gone" else "failed for days"),
            "fix": fix,
        }
        for hook in known
        if hook.disabled_because in {"gone", "failing"} and (hook.disabled_at or 0.0) >= since
    ]
