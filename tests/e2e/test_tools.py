"""Tools that the router runs, and a persona changed through its API: everything real."""

import pytest

from tests.e2e.bed import Bed
from tests.e2e.evidence import Evidence, until

DIALED = "+13125550100"
PERSONAS = {
    "13125550100": {
        "persona_name": "Mira",
        "personality": "You are Mira, the front desk of a harbour hotel.",
        "welcome_message": "Harbour hotel, Mira speaking.",
        "closing_message": "Fair winds!",
        "timezone": "Europe/Berlin",
        "calendar": {
            "hours": [{"days": ["mon"], "opens": "09:00", "closes": "11:00"}],
            "slot_minutes": 120,
        },
        "tools": ["do_not_call", "check_calendar", "book_appointment", "end_call"],
    }
}


@pytest.mark.timeout(400)
async def test_the_router_runs_what_the_persona_allows_and_changes_it(
    bed: Bed, evidence: Evidence
) -> None:
    async with bed.phone(DIALED) as caller:
        await caller.wait_for_words(timeout_s=40)
        await caller.say('/check_calendar {"day": "2037-11-23"}')
        await caller.wait_for_words(timeout_s=60, count=2, containing="Free on Monday")
        start = '"start": "2037-11-23T09:00+01:00"'
        await caller.say(f'/book_appointment {{{start}, "name": "Ruth"}}')
        await caller.wait_for_words(timeout_s=60, count=3, containing="Booked: Monday")
        await caller.say('/do_not_call {"reason": "leave me alone"}')
        await caller.wait_for_words(timeout_s=60, count=4, containing="will not be called again")

        (call_id,) = [line["call_id"] for line in evidence.router_events("call.dispatched")]
        new = {"persona_name": "Jonas", "personality": "You are Jonas.", "tools": ["end_call"]}
        answer = await evidence.http.post(f"/api/calls/{call_id}/persona", json={"persona": new})
        version = answer.raise_for_status().json()["version"]
        await until(
            lambda: [line["version"] for line in evidence.agent_events("persona.applied")][1:],
            what="change of the persona",
        )
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=60, count=5, containing="Jonas")
        await caller.say("Goodbye")
        await caller.wait_for_end(timeout_s=60)

    calendar = await evidence.http.get("/api/calendars/default.ics")
    assert evidence.agent_events("persona.applied")[1]["version"] == version
    assert "SUMMARY:Ruth" in calendar.text
    assert "Ruth" not in bed.router.child.log()
    assert "leave me alone" not in bed.agent.child.log() + bed.router.child.log()
