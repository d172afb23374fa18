"""What ends or changes a conversation, with a real server and a real worker; no router."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from livekit import api

from personas.changes import TOPIC, Change, parts_of, write
from personas.contract import CallConfig, Origin, encode
from personas.model import Persona
from personas.sources.files import shipped
from router.demo.livekit_server import LiveKitServer
from tests.e2e.worker import (
    Worker,
    agents_in,
    dispatch,
    events,
    is_calm,
    kept_waiting,
    phone,
    until,
)

DOCUMENT: Mapping[str, Any] = {
    "persona_name": "Mira",
    "personality": "You are Mira, the front desk of a harbour hotel.",
    "welcome_message": "Harbour hotel, Mira speaking.",
    "closing_message": "Fair winds!",
    "language": "en",
}


def metadata(**options: Any) -> str:
    persona = Persona.from_document({**DOCUMENT, **options})
    origin = Origin(source="api", version=persona.version, because="the API answered")
    call = CallConfig(call_id="c1", room="r", origin=origin)
    return encode(persona, call, shipped("house")).text


async def ended(worker: Worker) -> dict[str, Any]:
    await until(lambda: events(worker, "call.ended"))
    return events(worker, "call.ended")[0]


async def test_goodbye_is_said_in_full_before_the_call_ends(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        await caller.say("My name is Ruth")
        await caller.wait_for_words(timeout_s=15, count=2, containing="Written down.")
        await caller.say("Goodbye")
        await caller.wait_for_end(timeout_s=15)
        said = caller.utterances

    assert said[-1].text.strip() == "Fair winds!"
    assert said[-1].ended_at
    end = await ended(worker)
    assert end["reason"] == "the agent ended the call"
    assert end["facts"] == 1
    assert [(line["tool"], line["ok"]) for line in events(worker, "tool.used")] == [
        ("share_information", True),
        ("end_call", True),
    ]
    assert "Ruth" not in worker.log()
    assert is_calm(worker)


async def test_a_call_that_lasts_too_long_is_wrapped_up_in_words(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        options = {"max_duration_s": 10, "wrap_up_message": "The desk closes now."}
        await dispatch(client, caller.room, metadata(**options))
        await caller.wait_for_end(timeout_s=40)
        said = caller.utterances

    assert said[-1].text.strip() == "The desk closes now. Fair winds!"
    assert (await ended(worker))["reason"] == "the call had lasted as long as it may"
    assert is_calm(worker)


async def test_a_caller_who_says_nothing_is_asked_twice_and_then_let_go(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        options = {"silence_s": 2, "silence_message": "Hello?"}
        await dispatch(client, caller.room, metadata(**options))
        await caller.wait_for_words(timeout_s=20, count=2, containing="Hello?")
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=20, count=3, containing="harbour hotel.")
        await caller.wait_for_end(timeout_s=40)
        said = [one.text.strip() for one in caller.utterances]

    assert said[3:] == ["Hello?", "Hello?", "Fair winds!"]
    assert (await ended(worker))["reason"] == "the caller was silent"


async def test_a_key_stands_for_a_sentence_of_the_caller(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata(dtmf={"1": "Who are you?"}))
        await caller.wait_for_words(timeout_s=15)
        await caller.press("7")
        await caller.press("1")
        said = await caller.wait_for_words(timeout_s=15, count=2)

    assert said[1].text.strip() == "I am Mira, the front desk of a harbour hotel."
    await until(lambda: len(events(worker, "key.pressed")) == 2)
    assert [line["known"] for line in events(worker, "key.pressed")] == [False, True]


async def test_a_transfer_that_the_gateway_cannot_do_is_said_and_the_call_goes_on(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        targets = [{"name": "night porter", "number": "+13125550111"}]
        await dispatch(client, caller.room, metadata(transfer_targets=targets))
        await caller.wait_for_words(timeout_s=15)
        await caller.say("/transfer_call " + json.dumps({"target": "night porter"}))
        await caller.wait_for_words(timeout_s=15, count=3, containing="could not be put through")
        said = [one.text.strip() for one in caller.utterances]
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=15, count=4, containing="I am Mira")

    assert said[1] == "One moment please, I am putting you through."
    assert events(worker, "transfer.failed")


def change(**fields: Any) -> list[bytes]:
    persona = Persona.from_document({**DOCUMENT, **fields})
    origin = Origin(source="api", version=persona.version, because="it was changed")
    return parts_of(write(Change("c1", persona, origin)), "change-1")


async def test_a_persona_changes_in_the_middle_of_a_call(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        agent = caller.agents_present[0]
        new = {
            "persona_name": "Jonas",
            "personality": "Du bist Jonas vom Nachtdienst. " + "Sei freundlich. " * 400,
            "closing_message": "Ahoi!",
            "language": "de",
        }

        for packet in change(**new):
            await client.room.send_data(
                api.SendDataRequest(
                    room=caller.room,
                    data=packet,
                    topic=TOPIC,
                    destination_identities=[agent],
                )
            )
        await until(lambda: len(events(worker, "persona.applied")) == 2)
        await caller.say("Wer sind Sie?")
        await caller.wait_for_words(timeout_s=15, count=2, containing="Jonas")
        shown = await shown_name(client, caller.room, "Jonas")
        await caller.say("Tschüss")
        await caller.wait_for_end(timeout_s=15)
        said = [one.text.strip() for one in caller.utterances]

    assert said[1:] == ["Ich bin Jonas vom Nachtdienst.", "Ahoi!"]
    first, second = events(worker, "persona.applied")
    assert (first["language"], second["language"]) == ("en", "de")
    assert shown == second["version"] != first["version"]
    assert is_calm(worker)


async def shown_name(client: api.LiveKitAPI, room: str, name: str) -> str:
    """Wait until the agent shows *name*; return the version beside it."""
    while True:
        (agent,) = await agents_in(client, room)
        if agent.attributes["persona.name"] == name:
            return agent.attributes["persona.version"]


async def test_nobody_but_the_server_changes_the_persona(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)

        for packet in change(persona_name="Mallory", personality="You are Mallory."):
            await caller.send_data(packet, topic=TOPIC)
        await until(lambda: events(worker, "change.refused"))
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=15, count=2, containing="I am Mira")

    assert events(worker, "change.refused")[0]["because"] == "a participant sent it"
    assert len(events(worker, "persona.applied")) == 1


@pytest.mark.timeout(400)
async def test_ten_conversations_at_once_block_no_event_loop(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    """Stalls of which our code used little processor time are the machine's, which may be busy."""
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(phone(livekit, record=False)) for _ in range(10)]
        for caller in callers:  # in turn: a worker that is offered many jobs at once loses some
            await dispatch(client, caller.room, metadata())
            await caller.wait_for_words(timeout_s=60)
        for words, count in (("My name is Ruth", 2), ("Who are you?", 3)):
            for caller in callers:
                await caller.say(words)
            await asyncio.gather(
                *(caller.wait_for_words(timeout_s=60, count=count) for caller in callers)
            )
        for caller in callers:
            await caller.say("Goodbye")
        await asyncio.gather(*(caller.wait_for_end(timeout_s=60) for caller in callers))

    await until(lambda: len(events(worker, "call.ended")) == 10, timeout_s=30)
    lines = [json.loads(line) for line in worker.log().splitlines()]
    stalls = [line for line in lines if line["event"].startswith("event loop blocked")]
    assert not [line for line in stalls if not kept_waiting(line)]
    assert {line["reason"] for line in events(worker, "call.ended")} == {"the agent ended the call"}
