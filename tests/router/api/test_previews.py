"""The launch preview: all of a list asked about, and nobody called."""

from datetime import datetime
from pathlib import Path

import pytest

from tests.router.api.rig import open_rig

NOON = datetime.fromisoformat("2026-11-20T12:00:00-06:00").timestamp()
AGREED = "calls,2026-01-02,form"
LEADS = f"""phone,prospect_name,timezone,consent,consent_at,consent_source
+13125550101,Ann,,{AGREED}
+13125550102,,,{AGREED}
+13125550103,Eve,Asia/Tokyo,{AGREED}
+13125550104,Max,,,,
12,Nobody,,{AGREED}
"""


async def test_a_launch_is_counted_timed_and_begins_as_a_call_would(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, rig.client() as client:
        operator, viewer = await rig.token("operator"), await rig.token("viewer")
        await rig.services.leads.add("default", "leads.csv", LEADS.encode())
        spring = {
            "name": "Spring",
            "session_text": "Hello [Prospect Name].",
            "concurrency": 1,
            "budget_calls": 1,
        }
        await client.post("/api/campaigns", json=spring, headers=operator)
        await rig.services.do_not_call.add("+13125550104", source="api")
        path = f"/api/campaigns/spring/preview?list=leads.csv&at={NOON}"

        shown = (await client.get(f"{path}&row=1", headers=operator)).json()
        others = [
            await client.get(f"{path}&row=9", headers=operator),
            await client.get("/api/campaigns/none/preview", headers=operator),
            await client.get("/api/campaigns/spring/preview", headers=operator),
            await client.get(path, headers=viewer),
        ]

    assert {one["because"]: one["leads"] for one in shown["counts"]} == {
        "allowed": 1,
        "do_not_call": 1,
        "outside_hours": 1,
        "over_budget": 1,
    }
    assert (shown["total"], shown["now"], shown["bad"]) == (4, 1, 1)
    assert shown["missing"] == {"[Prospect Name]": 1}
    assert shown["next_at"] == pytest.approx(NOON + 5 * 3600)  # eight o'clock in Tokyo
    assert shown["lasts_s"] == 60.0
    assert shown["greeting"] == "This is an automated assistant. Hello Ann."
    assert shown["sentence"].startswith("4 leads: 1 now, 1 do-not-call, 1 outside hours (next slot")
    assert [one.status_code for one in others] == [404, 404, 404, 403]
