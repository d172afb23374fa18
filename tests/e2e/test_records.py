"""What a real call leaves behind, and what of it survives a router that is killed."""

import json
from pathlib import Path
from typing import Any

from agent.spool import files_in
from tests.e2e.bed import Bed
from tests.e2e.evidence import Evidence, until

NUMBER = "13125550172"
CALLER = "+4930901820"
PERSONAS = {
    NUMBER: {
        "persona_name": "Mira",
        "personality": "You are Mira, of the harbour hotel.",
        "welcome_message": "Harbour hotel, Mira speaking.",
    }
}
ANSWER_S = 30.0


async def record_of(evidence: Evidence, call_id: str) -> dict[str, Any]:
    """Wait until an agent has closed a call's record."""

    async def closed() -> dict[str, Any]:
        shown: dict[str, Any] = (
            await evidence.http.get(f"/api/calls/{call_id}?numbers=clear")
        ).json()
        return shown if shown.get("call", {}).get("closed_by") == "agent" else {}

    found: dict[str, Any] = await until(closed, timeout_s=40.0, what="closed record")
    return found


async def test_a_call_leaves_a_closed_record_of_what_was_said(bed: Bed, evidence: Evidence) -> None:
    async with bed.phone(NUMBER, caller=CALLER) as caller:
        await caller.wait_for_words(timeout_s=ANSWER_S)
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=ANSWER_S, count=2)
        await caller.hang_up()
    [dispatched] = evidence.router_events("call.dispatched")

    shown = await record_of(evidence, dispatched["call_id"])

    call = shown["call"]
    assert (call["direction"], call["caller"], call["dialed_number"]) == (
        "inbound",
        CALLER,
        f"+{NUMBER}",
    )
    assert (call["persona_name"], call["persona_origin"]) == ("Mira", "api")
    assert call["persona_version"] == dispatched["version"]
    assert (call["disposition"], call["reason"]) == ("answered", "the caller hung up")
    assert call["ring_ms"] > 0
    assert 0 < call["duration_s"] < ANSWER_S * 3
    assert call["room"] == caller.room
    assert call["room_sid"].startswith("RM_")
    said = [(turn["by"], turn["text"]) for turn in shown["transcript"]]
    assert said[0] == ("agent", "Harbour hotel, Mira speaking.")
    assert ("caller", "Who are you?") in said
    assert len(said) >= 3
    kinds = [event["kind"] for event in shown["events"]]
    assert {"opened", "persona_applied", "turn", "latency", "usage", "closed"} <= set(kinds)
    assert [event["seq"] for event in shown["events"]] == list(range(1, len(kinds) + 1))


async def test_a_router_that_is_killed_in_the_call_loses_nothing_of_it(
    bed: Bed, evidence: Evidence
) -> None:
    async with bed.phone(NUMBER, caller=CALLER) as caller:
        await caller.wait_for_words(timeout_s=ANSWER_S)
        bed.router.kill()
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=ANSWER_S, count=2)
        await caller.hang_up()
    [dispatched] = evidence.router_events("call.dispatched")
    spool = Path(bed.agent.folder, "state", "spool")
    assert files_in(spool)
    await bed.router.start()

    shown = await record_of(evidence, dispatched["call_id"])

    said = [(turn["by"], turn["text"]) for turn in shown["transcript"]]
    assert said[0] == ("agent", "Harbour hotel, Mira speaking.")
    assert ("caller", "Who are you?") in said
    assert shown["call"]["reason"] == "the caller hung up"
    seqs = [event["seq"] for event in shown["events"]]
    assert seqs == list(range(1, len(seqs) + 1))

    async def empty() -> bool:
        return not files_in(spool)

    await until(empty, timeout_s=30.0, what="empty spool")


async def test_a_call_of_another_backend_has_a_record_where_the_agent_knows_the_router(
    bed: Bed, evidence: Evidence
) -> None:
    bed.agent.env["ROUTER_URL"] = bed.router.url
    await bed.agent.stop()
    await bed.agent.start()
    async with bed.phone(outbound=True) as caller:
        metadata = {"personality": "You are brief.", "welcome_message": "Hello from elsewhere."}
        await evidence.dispatch(caller.room, json.dumps(metadata))
        await caller.wait_for_agent(timeout_s=ANSWER_S)
        await caller.set_call_status("active")
        await caller.wait_for_words(timeout_s=ANSWER_S)
        await caller.hang_up()

    async def listed() -> list[dict[str, Any]]:
        calls = (await evidence.http.get("/api/calls?numbers=clear")).json()["items"]
        return [call for call in calls if call["room"] == caller.room and call["ended_at"]]

    [call] = await until(listed, timeout_s=30.0, what="record of the call")

    assert (call["opened_by"], call["persona_origin"]) == ("agent", "job")
    shown = await record_of(evidence, call["call_id"])
    assert shown["transcript"][0]["text"] == "Hello from elsewhere."
