"""Where a call's ring time went, from what the phone saw and what the router logged. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DISPATCHED = "call.dispatched"


@dataclass(frozen=True, slots=True)
class CallTimes:
    """When things happened, in Unix seconds; None: not yet."""

    dialed_at: float | None = None
    joined_at: float | None = None  # the caller is in the room: it rings
    agent_joined_at: float | None = None
    track_subscribed_at: float | None = None  # the gateway would answer the INVITE now
    active_at: float | None = None
    first_audio_at: float | None = None  # the first audible frame of the agent
    first_word_at: float | None = None  # the first text of the agent's transcription
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the agent said in one go, as its transcription has it; ``ended_at`` None: speaking."""

    text: str
    began_at: float
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a call."""

    at_ms: float  # since the call began to ring
    name: str
    said: str = ""


def dispatched(log: str) -> Mapping[str, Any]:
    """Return the last line of the router's *log* about a dispatch; empty when there is none."""
    for line in reversed(log.splitlines()):
        if DISPATCHED in line and line.endswith("}"):  # the last line may be half written
            found: Mapping[str, Any] = json.loads(line)
            return found
    return {}


def stages(times: CallTimes, line: Mapping[str, Any]) -> Sequence[Stage]:
    """Put the steps of a call in order. Nothing is guessed: what was not seen is left out."""
    webhook_at = line.get("webhook_at")
    seen = [at for at in (times.joined_at, webhook_at) if at is not None]
    if not seen:
        return ()
    rang_at = min(seen)  # the webhook may be here before the phone knows that it has joined

    def at(moment: float, name: str, said: str = "") -> Stage:
        return Stage(round((moment - rang_at) * 1000, 1), name, said)

    found = [Stage(0.0, "ringing")]
    if webhook_at is not None:
        claimed = webhook_at + line["claim_ms"] / 1000
        known = claimed + line["persona_ms"] / 1000
        found += [
            at(webhook_at, "webhook", "verified, and an inbound call"),
            at(known, "persona", f"from {line['origin']}: {line['because']}"),
            at(known + line["dispatch_ms"] / 1000, "dispatch", "LiveKit has taken it"),
        ]
    for moment, name, said in (
        (times.agent_joined_at, "agent joined", ""),
        (times.track_subscribed_at, "answered", "the ringing ends"),
        (times.first_audio_at, "first sound", ""),
        (times.first_word_at, "first word", ""),
    ):
        if moment is not None:
            found.append(at(moment, name, said))
    return sorted(found, key=lambda stage: stage.at_ms)
