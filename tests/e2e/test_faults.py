"""Calls during which something fails: the API, the router, the metadata, the caller's patience."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from personas.contract import CallConfig, Origin, encode
from personas.model import Persona
from personas.sources.files import house
from router.demo.persona_api import Faults
from router.demo.phone import Phone
from tests.e2e.bed import Bed
from tests.e2e.evidence import Evidence, private_in, until

HOUSE_DIR = Path(__file__).parent / "house"
HOUSE = house(HOUSE_DIR)
ANSWER_S = 30.0
BUDGET_S = 2.0
SLACK_S = 0.3  # of a busy machine
LOOKUP_S = 1.2  # a slow persona API, within the router's patience


def digits(number: int) -> str:
    return f"131255501{number:02}"


def document(number: int, **more: Any) -> dict[str, Any]:
    return {
        "persona_name": f"Agent {number}",
        "personality": f"You are agent {number} of Example Limited.",
        "welcome_message": f"Agent {number} speaking.",
        **more,
    }


KNOWN, UNSEEN, HUNG_UP, DELETED, KILLED, STOPPED, SWAPPED, OTHER, LAST, *FAULTY = range(20, 33)
AGENT_SETTINGS = ROUTER_SETTINGS = {"PERSONA_DIR": str(HOUSE_DIR)}
PERSONAS: dict[str, dict[str, Any]] = {
    **{digits(number): document(number) for number in range(20, 33)},
    digits(SWAPPED): document(OTHER, mobile=f"+{digits(OTHER)}"),
}


def phone(bed: Bed, number: int, **options: Any) -> Phone:
    return bed.phone(f"+{digits(number)}", record=False, **options)


async def answer(bed: Bed, evidence: Evidence, number: int) -> tuple[str, str]:
    """Call *number*; return what was said first, and from which source the persona came."""
    async with phone(bed, number) as caller:
        words = (await caller.wait_for_words(timeout_s=ANSWER_S))[0].text.strip()
        return words, (await evidence.persona_of(caller.room))["origin"]


def of(number: int, origin: str) -> tuple[str, str]:
    return f"Agent {number} speaking.", origin


OF_THE_HOUSE = (HOUSE.welcome_message, "house")


async def restart(bed: Bed) -> None:
    """Start the router again: nothing is in its memory, and no failure of the API is known."""
    await bed.router.stop()
    await bed.router.start()


@contextmanager
def api_down(bed: Bed) -> Iterator[None]:
    bed.persona_api.stop()
    try:
        yield
    finally:
        bed.persona_api.start()


async def test_with_the_api_down_the_last_good_copy_answers_and_else_the_house_persona(
    bed: Bed, evidence: Evidence
) -> None:
    before = await answer(bed, evidence, KNOWN)
    with api_down(bed):
        await restart(bed)
        known, unseen = await asyncio.gather(
            answer(bed, evidence, KNOWN), answer(bed, evidence, UNSEEN)
        )

    assert before == of(KNOWN, "api")
    assert known == of(KNOWN, "last_known_good")
    assert unseen == OF_THE_HOUSE
    _, *while_down = evidence.router_events("call.dispatched")
    assert len(while_down) == 2
    assert all("could not be reached (connect)" in line["because"] for line in while_down)


async def test_an_api_that_hangs_costs_a_caller_the_budget_and_no_more(
    bed: Bed, evidence: Evidence
) -> None:
    known = await answer(bed, evidence, KNOWN)
    await restart(bed)
    bed.persona_api.faults.delay_s = 20
    known_again, unseen = await asyncio.gather(
        answer(bed, evidence, KNOWN), answer(bed, evidence, FAULTY[0])
    )

    assert known == of(KNOWN, "api")
    assert known_again == of(KNOWN, "last_known_good")
    assert unseen == OF_THE_HOUSE
    _, *waited = [line["persona_ms"] for line in evidence.router_events("call.dispatched")]
    assert len(waited) == 2
    assert all(0.5 * BUDGET_S < ms / 1000 <= BUDGET_S + SLACK_S for ms in waited)


@pytest.mark.parametrize(
    ("number", "faults", "because"),
    [
        pytest.param(FAULTY[1], Faults(unavailable=True), "failed (status_503)", id="503"),
        pytest.param(FAULTY[2], Faults(garbage=True), "cannot be used (not_json)", id="garbage"),
        pytest.param(
            FAULTY[3],
            Faults(wrong_number=f"+{digits(OTHER)}"),
            "another number's persona",
            id="another-number",
        ),
        pytest.param(SWAPPED, Faults(), "another number's persona", id="another-persona"),
    ],
)
async def test_an_answer_that_cannot_be_this_number_s_persona_is_never_spoken(
    bed: Bed, evidence: Evidence, number: int, faults: Faults, because: str
) -> None:
    bed.persona_api.faults = faults

    answered = await answer(bed, evidence, number)

    assert answered == OF_THE_HOUSE
    assert because in evidence.router_events("call.dispatched")[0]["because"]


async def test_a_caller_who_hangs_up_during_the_lookup_leaves_no_agent_and_no_room_behind(
    bed: Bed, evidence: Evidence
) -> None:
    await restart(bed)
    bed.persona_api.faults.delay_s = LOOKUP_S
    async with phone(bed, HUNG_UP) as hung_up, phone(bed, DELETED) as deleted:
        asked = {digits(HUNG_UP), digits(DELETED)}
        await until(lambda: asked <= set(bed.persona_api.requests), what="two lookups")
    await evidence.delete(deleted.room)  # the dispatch makes it anew

    await until(lambda: len(evidence.agent_events("call.not_held")) == 2, what="agents leaving")
    for room in (hung_up.room, deleted.room):
        await until(partial(gone, evidence, room), timeout_s=5, what="end of the room")
    bed.persona_api.faults.delay_s = 0
    next_call = await answer(bed, evidence, HUNG_UP)

    assert len(evidence.router_events("call.dispatched")) == 3
    assert {line["reason"] for line in evidence.agent_events("call.not_held")} == {"nobody came"}
    assert next_call == of(HUNG_UP, "api")


async def gone(evidence: Evidence, room: str) -> bool:
    return not await evidence.room_sid(room)


async def test_a_router_that_is_killed_before_the_dispatch_answers_when_it_is_back(
    bed: Bed, evidence: Evidence
) -> None:
    await restart(bed)
    bed.persona_api.faults.delay_s = LOOKUP_S
    async with phone(bed, KILLED) as caller:
        await until(lambda: bed.persona_api.requests[digits(KILLED)], what="lookup")
        bed.router.kill()
        await bed.router.start()
        words = (await caller.wait_for_words(timeout_s=ANSWER_S))[0].text.strip()
        persona = await evidence.persona_of(caller.room)
        dispatches = await evidence.dispatches(caller.room)

    assert (words, persona["origin"]) == of(KILLED, "api")
    assert len(dispatches) == len(caller.agents) == 1
    assert [line["attempt"] for line in evidence.router_events("call.dispatched")] == [2]


async def test_a_router_that_is_told_to_stop_answers_the_call_it_is_busy_with(
    bed: Bed, evidence: Evidence
) -> None:
    await restart(bed)
    bed.persona_api.faults.delay_s = LOOKUP_S
    try:
        async with phone(bed, STOPPED) as caller:
            await until(lambda: bed.persona_api.requests[digits(STOPPED)], what="lookup")
            bed.router.child.send(signal.SIGTERM)
            words = (await caller.wait_for_words(timeout_s=ANSWER_S))[0].text.strip()
            persona = await evidence.persona_of(caller.room)
        await until(lambda: bed.router.child.exit_code is not None, what="end of the router")
        exit_code = bed.router.child.exit_code
    finally:
        await restart(bed)

    assert (words, persona["origin"]) == of(STOPPED, "api")
    assert exit_code == 0
    assert len(evidence.router_events("router.stopped")) == 2


PERSONA = Persona.from_document(document(99))
ORIGIN = Origin(source="api", version=PERSONA.version, because="the API answered")
CALL = CallConfig(call_id="c1", room="r", origin=ORIGIN)
WHOLE = json.loads(encode(PERSONA, CALL, HOUSE).text)
NESTED = '{"personality": ' + "[" * 200_000 + "]" * 200_000 + "}"
# What the agent is sent, and what it says first; None: the house persona's welcome.
MALFORMED: dict[str, tuple[str, str | None]] = {
    "nothing": ("", None),
    "blank": (" \n\t", None),
    "no JSON": ('{"personality": "cut o', None),
    "HTML": ("<html>It works!</html>", None),
    "a list": ("[]", None),
    "a number": ("1e999", None),
    "a string": ('"x"', None),
    "null": ("null", None),
    "NaN": ('{"personality": NaN}', None),
    "half a character": ('{"personality": "\\ud800", "welcome_message": "\\udfff"}', None),
    "an empty object": ("{}", None),
    "unknown keys": ('{"anything": "else"}', None),
    "wrong types": ('{"personality": 7, "welcome_message": [], "voice": "x"}', None),
    "an agent config of the wrong type": ('{"agent_config": [1]}', None),
    "an empty agent config": ('{"agent_config": {}}', "Hello, this is your assistant."),
    "a campaign call of wrong types": ('{"phone_number": {}, "agentId": []}', None),
    "control characters": (
        '{"personality": "a\\u0000b", "language": "\\u0000", "welcome_message": "Hel\\u0000lo."}',
        "Hello.",
    ),
    "400 KB of brackets": (NESTED, None),
    "400 KB of text": (json.dumps({"welcome_message": "x" * 400_000}), None),
    "only _call": (json.dumps({"_call": WHOLE["_call"]}), None),
    "another persona's version": (json.dumps(WHOLE | {"persona_name": "Mallory"}), None),
    "_call is text": (json.dumps(WHOLE | {"_call": "x"}), PERSONA.welcome_message),
    "_call is empty": (json.dumps(WHOLE | {"_call": {}}), PERSONA.welcome_message),
    "_call is of another schema": (
        json.dumps(WHOLE | {"_call": WHOLE["_call"] | {"schema": 99, "attempt": "x"}}),
        PERSONA.welcome_message,
    ),
}


async def test_an_agent_greets_whatever_metadata_it_is_sent(bed: Bed, evidence: Evidence) -> None:
    lines_free = asyncio.Semaphore(4)

    async def greeting(metadata: str) -> str:
        async with lines_free, phone(bed, KNOWN, outbound=True) as caller:  # no dispatch of ours
            await evidence.dispatch(caller.room, metadata)
            await caller.set_call_status("active")
            return (await caller.wait_for_words(timeout_s=ANSWER_S))[0].text.strip()

    sent = {kind: metadata for kind, (metadata, _) in MALFORMED.items()}
    said = dict(zip(sent, await asyncio.gather(*map(greeting, sent.values())), strict=True))

    assert said == {kind: says or HOUSE.welcome_message for kind, (_, says) in MALFORMED.items()}
    await until(
        lambda: len(evidence.agent_events("call.ended")) == len(sent), what="end of the calls"
    )
    assert "Traceback" not in bed.agent.child.log()


async def test_no_number_and_no_word_of_a_persona_is_in_the_logs_of_failures(
    bed: Bed, evidence: Evidence
) -> None:
    bed.persona_api.faults.garbage = True
    await answer(bed, evidence, LAST)
    await until(lambda: evidence.agent_events("call.ended"), what="end of the call")
    texts = [str(value) for one in PERSONAS.values() for value in one.values()]

    for process in (bed.router, bed.agent):
        assert not private_in(process.child.log(), texts=[*texts, HOUSE.welcome_message or "?"])
