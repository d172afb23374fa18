"""Calls that nothing goes wrong with: who answers, how often, and what is left of them."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personas.model import version_of
from personas.sources.files import house
from router.demo.phone import Phone
from tests.e2e.bed import Bed
from tests.e2e.evidence import Evidence, private_in, until

HOUSE_DIR = Path(__file__).parent / "house"
HOUSE = house(HOUSE_DIR)
CALLER = "+13125550123"
TRUNK = "ST_trunk_with_one_number"
ANSWER_S = 30.0
AT_ONCE = 4
NAMES = (
    *("Ann", "Béatrice", "Carlos", "Dörte", "Emre", "Fatima", "Goran", "Hanna", "Ines", "Jamal"),
    *("Käthe", "Luca", "Mira", "Nils", "Olga", "Pedro", "Quentin", "Ruth", "Søren", "Tomoko"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One of our numbers: how callers reach it, and what the persona API has under which name."""

    dialed: str
    asked_as: str
    persona: Mapping[str, Any]
    answer: Mapping[str, Any]


def line(number: int, name: str) -> Line:
    """Make up a number; notation, envelope and spelling differ from one to the next."""
    digits = f"131255501{number:02}"
    welcome, prompt = f"{name} speaking.", f"You are {name}, of branch number {number}."
    spellings: tuple[dict[str, Any], ...] = (
        {"persona_name": name, "personality": prompt, "welcome_message": welcome},
        {"personaName": name, "conversationStructure": [prompt, "Ask."], "welcomeMessage": welcome},
    )
    persona = spellings[number % 2]
    if number % 3 == 0:
        persona |= {"mobile": digits, "branch": {"ring": number}}
    notations = (
        (f"+{digits}", digits),
        (digits, digits),
        (f"tel:+{digits}", f"+{digits}"),
        (digits[1:], digits[1:]),
    )
    dialed, asked_as = notations[number % 4]
    envelope = ("", "data", "result", "", "persona")[number % 5]
    return Line(dialed, asked_as, persona, {envelope: persona} if envelope else persona)


LINES = [line(number, name) for number, name in enumerate(NAMES)]
SHARED, HIDDEN, OUTBOUND, REPEATED, SLOW, LAST = (
    line(40 + number, name)
    for number, name in enumerate(("Una", "Vera", "Walt", "Xenia", "Yuri", "Zoë"))
)
PERSONAS = {
    one.asked_as: json.dumps(one.answer)
    for one in (*LINES, SHARED, HIDDEN, OUTBOUND, REPEATED, SLOW, LAST)
}
AGENT_SETTINGS = {"PERSONA_DIR": str(HOUSE_DIR)}
ROUTER_SETTINGS = AGENT_SETTINGS | {"TRUNK_NUMBERS": f"{TRUNK}={HIDDEN.dialed}"}


def welcome_of(called: Line) -> str:
    welcome: str = called.persona.get("welcome_message") or called.persona["welcomeMessage"]
    return welcome


async def words_of(caller: Phone) -> str:
    return (await caller.wait_for_words(timeout_s=ANSWER_S))[0].text.strip()


async def test_each_of_twenty_numbers_is_answered_by_its_own_persona(
    bed: Bed, evidence: Evidence
) -> None:
    lines_free = asyncio.Semaphore(AT_ONCE)

    async def call(number: int) -> tuple[str, dict[str, str]]:
        audible = number % AT_ONCE == 0
        async with lines_free, bed.phone(LINES[number].dialed, record=audible) as caller:
            words = await words_of(caller)
            if audible:
                await caller.wait_for_audio(timeout_s=ANSWER_S)
            return words, await evidence.persona_of(caller.room)

    answers = await asyncio.gather(*map(call, range(len(LINES))))

    assert answers == [
        (
            welcome_of(called),
            {"name": name, "version": version_of(called.persona), "origin": "api"},
        )
        for called, name in zip(LINES, NAMES, strict=True)
    ]
    assert len({words for words, _ in answers}) == len(LINES)
    assert len(evidence.router_events("call.dispatched")) == len(LINES)


async def test_calls_at_the_same_time_get_one_agent_each_even_to_the_same_number(
    bed: Bed, evidence: Evidence
) -> None:
    called = [SHARED, SHARED, LINES[1], LINES[2]]
    async with AsyncExitStack() as stack:
        callers = await asyncio.gather(
            *(stack.enter_async_context(bed.phone(one.dialed, record=False)) for one in called)
        )
        words = await asyncio.gather(*map(words_of, callers))
        agents = [await evidence.agents(caller.room) for caller in callers]
        dispatches = [await evidence.dispatches(caller.room) for caller in callers]

    assert words == list(map(welcome_of, called))
    assert len({caller.room for caller in callers}) == len(called)
    assert list(map(len, agents)) == list(map(len, dispatches)) == [1] * len(called)
    assert len({identity for found in agents for identity in found}) == len(called)
    assert [len(caller.agents) for caller in callers] == [1] * len(called)


async def test_a_hidden_number_is_the_one_of_its_trunk(bed: Bed, evidence: Evidence) -> None:
    async with bed.phone(hidden=True, trunk_id=TRUNK, record=False) as caller:
        words = await words_of(caller)
        persona = await evidence.persona_of(caller.room)

    assert words == welcome_of(HIDDEN)
    assert persona["name"] == "Vera"
    because = evidence.router_events("call.dispatched")[0]["because"]
    assert because.startswith("the number is hidden; its trunk has this one; the persona API")


async def test_a_hidden_number_that_no_trunk_settles_is_answered_by_the_house_persona(
    bed: Bed, evidence: Evidence
) -> None:
    async with bed.phone(hidden=True, trunk_id="ST_other", record=False) as caller:
        words = await words_of(caller)
        persona = await evidence.persona_of(caller.room)

    assert words == HOUSE.welcome_message
    assert persona == {"name": HOUSE.persona_name, "version": HOUSE.version, "origin": "house"}
    because = evidence.router_events("call.dispatched")[0]["because"]
    assert because == "the number is hidden, and its trunk does not settle it; number unknown"
    assert not bed.persona_api.requests


async def test_a_leg_that_we_dial_gets_no_agent(bed: Bed, evidence: Evidence) -> None:
    async def joins() -> float:
        return (await evidence.counts("events")).get("participant_joined", 0)

    async def another_was_decided() -> bool:
        decided = sum((await evidence.counts("deliveries")).values())
        return await joins() > joined and decided == sum((await evidence.counts("events")).values())

    joined, verdicts = await joins(), await evidence.counts("deliveries")

    async with bed.phone(OUTBOUND.dialed, outbound=True, record=False) as leg:
        await until(another_was_decided, what="verdict about the leg")
        verdicts_after = await evidence.counts("deliveries")
        dispatches = await evidence.dispatches(leg.room)
        agents = await evidence.agents(leg.room)

    assert await joins() == joined + 1
    assert not dispatches
    assert not agents
    assert not leg.agents
    assert not bed.persona_api.requests
    assert verdicts_after.pop("ignored", 0) > verdicts.pop("ignored", 0)
    assert verdicts_after == verdicts


async def test_a_delivery_that_comes_again_and_again_changes_nothing(
    bed: Bed, evidence: Evidence
) -> None:
    async with bed.phone(REPEATED.dialed, record=False) as caller:
        await words_of(caller)
        before = await evidence.counts("deliveries")

        answers = await asyncio.gather(*(evidence.deliver(caller) for _ in range(6)))

        after = await evidence.counts("deliveries")
        dispatches = await evidence.dispatches(caller.room)
        agents = await evidence.agents(caller.room)

    assert [answer.status_code for answer in answers] == [200] * 6
    assert after["duplicate"] - before.get("duplicate", 0) == 6
    assert after["dispatched"] == before["dispatched"]
    assert len(dispatches) == len(agents) == len(caller.agents) == len(caller.utterances) == 1


async def test_deliveries_during_the_lookup_are_put_off_and_one_agent_comes(
    bed: Bed, evidence: Evidence
) -> None:
    bed.persona_api.faults.delay_s = 1.0
    async with bed.phone(SLOW.dialed, record=False) as caller:
        await until(lambda: bed.persona_api.requests[SLOW.asked_as], what="lookup")

        answers = await asyncio.gather(*(evidence.deliver(caller) for _ in range(4)))

        words = await words_of(caller)
        again = await evidence.deliver(caller)
        dispatches = await evidence.dispatches(caller.room)
        agents = await evidence.agents(caller.room)

    assert [answer.status_code for answer in answers] == [503] * 4
    # What is left of the lease (the budget, the dispatch and a margin): a router that died while
    # it held the call is followed by then.
    assert {answer.headers["retry-after"] for answer in answers} <= {"5", "6"}
    assert again.status_code == 200
    assert words == welcome_of(SLOW)
    assert len(dispatches) == len(agents) == len(caller.agents) == 1
    assert len(evidence.router_events("call.dispatched")) == 1
    assert bed.persona_api.requests[SLOW.asked_as] == 1


async def test_no_number_and_no_word_of_a_persona_is_in_the_logs(
    bed: Bed, evidence: Evidence
) -> None:
    async with bed.phone(LAST.dialed, caller=CALLER, record=False) as caller:
        await words_of(caller)
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=ANSWER_S, count=2)
    await until(lambda: evidence.agent_events("call.ended"), what="end of the call")
    texts = [str(value) for one in LINES for value in one.persona.values()]

    for process in (bed.router, bed.agent):
        assert not private_in(process.child.log(), texts=texts)
        assert bed.livekit.api_secret not in process.child.log()
