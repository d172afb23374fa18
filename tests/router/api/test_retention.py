"""How long things are kept is there to be read."""

from pathlib import Path

from tests.router.api.rig import open_rig


async def test_every_kind_says_its_days_and_its_setting(tmp_path: Path) -> None:
    async with open_rig(tmp_path, facts_days=12) as rig, rig.client() as client:
        answer = await client.get("/api/retention", headers=await rig.token("viewer"))

    items = {one["kind"]: (one["days"], one["setting"]) for one in answer.json()["items"]}
    assert items["facts"] == (12, "FACTS_DAYS")
    assert items["calls"] == (90, "RECORDS_DAYS")
    assert items["do_not_call"] == (None, None)
