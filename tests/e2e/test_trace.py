"""Where the ring time of a real call went, asked over HTTP."""

from typing import Any

from tests.e2e.bed import Bed
from tests.e2e.evidence import Evidence, until

NUMBER = "13125550171"
PERSONAS = {NUMBER: {"personality": "You are brief.", "welcome_message": "Branch seventy-one."}}
ANSWER_S = 30.0
STAGES = (
    *("webhook", "verify", "queue", "claim", "persona", "dispatch", "agent_joined", "first_word"),
    "",  # ring time, which has no label
)


async def test_every_stage_of_a_call_that_is_over_is_known(bed: Bed, evidence: Evidence) -> None:
    before = await evidence.timed("stage_seconds") | await evidence.timed("ring_seconds")
    async with bed.phone(NUMBER) as caller:
        await caller.wait_for_words(timeout_s=ANSWER_S)

        async def shown() -> list[str]:  # by the beat after the first word
            agents = (await evidence.agents(caller.room)).values()
            return [one for agent in agents if (one := agent.get("persona.first_word_at"))]

        await until(shown, what="first word on the agent")
        await caller.hang_up()
    [dispatched] = evidence.router_events("call.dispatched")

    async def known() -> dict[str, Any]:
        answer = await evidence.http.get(f"/api/calls/{dispatched['call_id']}/trace")
        trace: dict[str, Any] = answer.json()
        return trace if trace.get("stages", [{}])[-1].get("at") else {}

    trace = await until(known, what="first word in the trace")

    took = {stage["name"]: stage["ms"] for stage in trace["stages"]}
    assert [stage["name"] for stage in trace["stages"] if stage["at"] is None] == []
    assert trace["slowest"] in took
    assert (trace["verdict"], trace["source"], trace["attempts"]) == ("dispatched", "api", 1)
    assert NUMBER not in str(trace)

    async def counted() -> bool:
        now = await evidence.timed("stage_seconds") | await evidence.timed("ring_seconds")
        return all(now.get(stage, 0) > before.get(stage, 0) for stage in STAGES)

    await until(counted, what="the call in the histogram of every stage, and of ring time")
