"""One tool, run for a call that is none: what the model would hear, and nothing is kept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.router.api.rig import Rig, open_rig
from tests.router.tenancy import rows_of

NUMBER = "+13125550100"
DAY = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
PERSONA = {
    "personality": "Kind.",
    "timezone": "UTC",
    "tools": ["check_calendar", "book_appointment", "add_to_do_not_call"],
    "calendar": {"name": "desk", "timezone": "UTC"},
}
USUAL = "+13125550101"
USUAL_PERSONA = {
    "personality": "Kind.",
    "closing_message": "Until soon!",
    "transfer_targets": [{"name": "Front desk", "number": "+13125550142"}],
}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    folder = tmp_path / "personas"
    folder.mkdir()
    for number, persona in ((NUMBER, PERSONA), (USUAL, USUAL_PERSONA)):
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(persona), encoding="utf-8")
    async with open_rig(tmp_path, persona_dir=folder) as rig:
        yield rig


async def tried(rig: Rig, function: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with rig.client() as client:
        headers = await rig.token("admin")
        sent = {"function": function, **body}
        answer = await client.post("/api/agentic/test_function", json=sent, headers=headers)
    return answer.status_code, answer.json()


async def test_a_tool_answers_and_leaves_no_record(rig: Rig) -> None:
    _, free = await tried(rig, "check_calendar", arguments={"day": DAY}, number=NUMBER)
    start = f"{DAY}T09:00"
    booking = {"start": start, "name": "Ruth"}
    _, booked = await tried(rig, "book_appointment", arguments=booking, number=NUMBER)
    _, again = await tried(rig, "book_appointment", arguments=booking, number=NUMBER)
    rows = await rows_of(rig, "default")

    assert free["ok"], free
    assert booked["result"] == again["result"]
    assert not any(rows[table] for table in ("appointments", "do_not_call", "calls", "facts"))
    assert {one[-2] for one in rows["audit"]} == {"tool.tried"}


async def test_a_tool_that_the_persona_does_not_have_is_not_there(rig: Rig) -> None:
    for function, number in (("end_call", NUMBER), ("no_such", NUMBER), ("check_calendar", None)):
        status, answer = await tried(rig, function, number=number)
        assert (status, answer["code"]) == (404, "no_such_tool")


async def test_the_agents_own_tools_say_what_the_model_would_hear(rig: Rig) -> None:
    fact = {"information": "Ruth wants a window seat.", "category": "conversation_flow"}
    said = {
        name: (await tried(rig, name, arguments=arguments, number=USUAL))[1]
        for name, arguments in (
            ("share_information", fact),
            ("get_shared_information", {"limit": 3}),
            ("get_current_time", {}),
            ("end_call", {"reason": "all is settled"}),
            ("transfer_call", {"target": "front DESK"}),
        )
    }
    rows = await rows_of(rig, "default")

    assert said["share_information"] == {"ok": True, "result": "Written down."}
    assert said["get_shared_information"]["result"] == "Nothing has been written down yet."
    assert f"{datetime.now(UTC):%Y}" in said["get_current_time"]["result"]
    assert said["end_call"]["result"] == "The call would end now, with: Until soon!"
    assert said["transfer_call"]["result"] == "The caller would be put through to Front desk now."
    assert not any(rows[table] for table in ("calls", "facts"))


async def test_the_agents_own_tools_refuse_what_makes_no_sense(rig: Rig) -> None:
    _, nothing = await tried(rig, "share_information", number=USUAL)
    _, blank = await tried(rig, "share_information", arguments={"information": " "}, number=USUAL)
    _, nobody = await tried(rig, "transfer_call", arguments={"target": "moon"}, number=USUAL)

    assert nothing == {"ok": False, "result": "Say information, as text."}
    assert blank == {"ok": True, "result": "There was nothing to write down."}
    assert nobody["result"] == "You can put callers through to these only: Front desk."
    assert (await tried(rig, "end_call"))[1]["ok"]  # the house persona has the usual four


async def test_what_cannot_be_read_is_said(rig: Rig) -> None:
    assert (await tried(rig, "check_calendar", number="soon"))[0] == 422
    assert (await tried(rig, ""))[0] == 422
    _, answer = await tried(rig, "check_calendar", arguments={"day": "soon"}, number=NUMBER)
    assert "YYYY-MM-DD" in answer["result"]
