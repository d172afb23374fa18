"""The watch over the rooms: lost webhooks, absent workers, agents that die or freeze."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import api

from agent.instructions import CUT_OFF
from router.demo.phone import Phone
from tests.e2e.bed import Bed, open_bed
from tests.e2e.evidence import Evidence, open_evidence, until

DID = "+13125550160"
WELCOME = "Harbour desk, good day."
PERSONA = {"persona_name": "Harbour", "personality": "You are brief.", "welcome_message": WELCOME}
ANSWER_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deaf_bed(logs: Path, livekit_program: Path) -> AsyncIterator[Bed]:
    """A bed whose LiveKit never tells the router that somebody joined."""
    async with open_bed(
        logs / "test_watch",
        livekit_program,
        personas={DID[1:]: PERSONA},
        router_settings={"ANSWER_TIMEOUT_S": "3.0", "LAST_RESORT_CALLS": "0"},
        agent_settings={"AGENT_IDLE_PROCESSES": "3"},
        include_events=("room_finished",),
    ) as bed:
        yield bed


@pytest_asyncio.fixture
async def seen(deaf_bed: Bed) -> AsyncIterator[Evidence]:
    async with open_evidence(deaf_bed) as seen:
        yield seen


def phone(bed: Bed) -> Phone:
    return bed.phone(DID, record=False)


async def first_words(caller: Phone) -> str:
    return (await caller.wait_for_words(timeout_s=ANSWER_S))[0].text.strip()


async def test_a_call_whose_webhook_never_came_is_found_and_answered(
    deaf_bed: Bed, seen: Evidence
) -> None:
    async with phone(deaf_bed) as caller:
        assert await first_words(caller) == WELCOME
        assert (await seen.persona_of(caller.room))["origin"] == "api"
        assert len(await seen.agents(caller.room)) == 1
        assert await seen.dispatches(caller.room) == ["friday-ai-agent"]

    assert (await seen.counts("recoveries"))["adopted"] >= 1


async def test_several_lost_calls_at_once_get_one_agent_each(deaf_bed: Bed, seen: Evidence) -> None:
    async def call() -> int:
        async with phone(deaf_bed) as caller:
            await first_words(caller)
            return len(await seen.agents(caller.room))

    assert await asyncio.gather(*(call() for _ in range(3))) == [1, 1, 1]


async def test_a_call_that_comes_while_no_worker_is_there_is_answered_when_one_comes(
    deaf_bed: Bed, seen: Evidence
) -> None:
    before = (await seen.counts("recoveries")).get("dispatched_again", 0)
    await deaf_bed.agent.stop()
    async with phone(deaf_bed) as caller:

        async def tried_again() -> bool:
            return (await seen.counts("recoveries")).get("dispatched_again", 0) > before

        await until(tried_again, timeout_s=15, what="another attempt")
        await deaf_bed.agent.start()

        assert await first_words(caller) == WELCOME
        assert len(await seen.agents(caller.room)) == 1


async def test_a_killed_agent_is_replaced_and_the_caller_is_told(
    deaf_bed: Bed, seen: Evidence
) -> None:
    async with phone(deaf_bed) as caller:
        await first_words(caller)
        deaf_bed.agent.kill()  # worker and job processes: LiveKit lists the agent for 21 s
        await deaf_bed.agent.start()

        words = await caller.wait_for_words(timeout_s=ANSWER_S, count=2)

        assert words[-1].text.strip() == CUT_OFF["en"]
        assert len(await seen.agents(caller.room)) == 1


async def test_a_call_goes_on_with_the_persona_of_before_though_it_was_changed_meanwhile(
    deaf_bed: Bed, seen: Evidence
) -> None:
    async with phone(deaf_bed) as caller:
        await first_words(caller)
        before = await seen.persona_of(caller.room)
        deaf_bed.persona_api.personas[DID[1:]] = {**PERSONA, "personality": "You are someone else."}
        try:
            await seen.http.post("/api/personas/purge", json={"all": True})
            [agent] = await seen.agents(caller.room)
            gone = api.RoomParticipantIdentity(room=caller.room, identity=agent)
            await seen.livekit.room.remove_participant(gone)
            words = await caller.wait_for_words(timeout_s=ANSWER_S, count=2)
            after = await seen.persona_of(caller.room)
        finally:
            deaf_bed.persona_api.personas[DID[1:]] = PERSONA
            await seen.http.post("/api/personas/purge", json={"all": True})

    assert words[-1].text.strip() == CUT_OFF["en"]
    assert after == before
    resumed = seen.router_events("call.dispatched")[-1]
    assert resumed["attempt"] >= 2
    assert resumed["because"].endswith("the call goes on with the persona that it began with")


async def test_a_frozen_agent_is_removed_and_replaced(deaf_bed: Bed, seen: Evidence) -> None:
    async with phone(deaf_bed) as caller:
        await first_words(caller)
        [frozen] = await seen.agents(caller.room)
        os.killpg(deaf_bed.agent.child.pid, signal.SIGSTOP)
        try:

            async def removed() -> bool:
                return frozen not in await seen.agents(caller.room)

            await until(removed, timeout_s=20, what="removal of the frozen agent")
        finally:
            os.killpg(deaf_bed.agent.child.pid, signal.SIGCONT)

        words = await caller.wait_for_words(timeout_s=ANSWER_S, count=2)

        assert words[-1].text.strip() == CUT_OFF["en"]
        assert frozen not in await seen.agents(caller.room)


async def test_where_no_agent_ever_comes_the_ringing_is_ended(
    deaf_bed: Bed, seen: Evidence
) -> None:
    await deaf_bed.agent.stop()
    try:
        async with phone(deaf_bed) as caller:
            await caller.wait_for_end(timeout_s=ANSWER_S)
    finally:
        await deaf_bed.agent.start()

    assert (await seen.counts("recoveries"))["given_up"] == 1
    [alert] = [line for line in seen.router_events("alert.raised") if line["action"] == "given_up"]
    assert alert["because"] == "no agent has come, time after time"


async def test_a_router_that_takes_over_the_sweep_finds_calls_too(
    deaf_bed: Bed, seen: Evidence
) -> None:
    deaf_bed.router.kill()
    async with phone(deaf_bed) as caller:
        await deaf_bed.router.start()  # its predecessor's lease has to run out first

        assert await first_words(caller) == WELCOME
        assert len(await seen.agents(caller.room)) == 1


@pytest.mark.parametrize("hang_up_after", ["ringing", "answered"])
async def test_when_the_caller_is_gone_no_room_is_left(
    deaf_bed: Bed, seen: Evidence, hang_up_after: str
) -> None:
    async with phone(deaf_bed) as caller:
        if hang_up_after == "answered":
            await first_words(caller)

    async def gone() -> bool:
        return not await seen.room_sid(caller.room)

    await until(gone, timeout_s=25, what="end of the room")
