"""First word after the caller has joined, beside the same agent sent by a static dispatch rule."""

import time
from pathlib import Path

from personas.contract import CallConfig, Origin, Ring, encode
from personas.model import Persona
from personas.sources.files import shipped
from router.demo import binary
from router.demo.settings import DemoSettings
from tests.bench.report import Figure, Say, median, spread
from tests.e2e.bed import Bed, open_bed

CALLS = 12  # of each kind, in turns
DID = "+13125550199"
WANTED = 1.1
WORDS_TIMEOUT_S = 20.0
PERSONA = Persona.from_document(
    {"persona_name": "Ada", "personality": "You are brief.", "welcome_message": "Hello, Ada here."}
)


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Place calls that the router answers and calls that a rule answers, in turns."""
    program = binary.ensure(DemoSettings.load(), say)
    origin = Origin(source="api", version=PERSONA.version, because="a static dispatch rule")
    config = CallConfig(call_id="static", room="", origin=origin, ring=Ring())
    metadata = encode(PERSONA, config, shipped("house")).text
    async with open_bed(folder, program, personas={DID[1:]: PERSONA.raw}) as bed:
        await _first_word(bed)
        pairs = []
        for _ in range(CALLS):
            ruled = await _first_word(bed, static_agent="friday-ai-agent", static_metadata=metadata)
            routed = await _first_word(bed)
            pairs.append((routed, ruled))
            say(f"router {routed * 1000:.0f} ms, static rule {ruled * 1000:.0f} ms")
    routed, ruled = (median([pair[side] for pair in pairs]) for side in (0, 1))
    ratios = [ours / theirs for ours, theirs in pairs]
    return [
        Figure(
            "first word after the caller has joined, against the same agent sent by a static "
            "dispatch rule",
            f"{routed * 1000:.0f} ms against {ruled * 1000:.0f} ms: {routed / ruled:.2f}x "
            f"({spread(ratios)})",
            f"at most {WANTED:g}x",
            met=routed / ruled <= WANTED,
        )
    ]


async def _first_word(bed: Bed, **options: object) -> float:
    """Place one call; return the seconds from joining to the first word."""
    phone = bed.phone(DID, record=False, **options)
    if options:  # without a rule's id the router leaves the call to the agent that is sent anyway
        del phone.attributes["sip.ruleID"]
    async with phone:
        await phone.wait_for_words(timeout_s=WORDS_TIMEOUT_S)
    times = phone.times
    joined_at, first_word_at = times.joined_at, times.first_word_at
    if joined_at is None or first_word_at is None:
        raise RuntimeError(f"no word was heard until {time.time()}")
    return first_word_at - joined_at
