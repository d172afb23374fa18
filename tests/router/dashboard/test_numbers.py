"""Numbers with the persona of each: its origin, how fresh it is, what failed, what changed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from personas.phone import read_dialed
from personas.sources.http import Fetched
from tests.router.api.rig import Rig, open_rig
from tests.router.dashboard.rig import DIALED, csrf_of, signed_in
from tests.router.tenancy import NUMBERS, furnish, personas_of

NUMBER = NUMBERS["default"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, persona_api_base="http://127.0.0.1:9") as rig:
        await furnish(rig, "default")
        yield rig


async def test_a_number_has_its_persona_freshness_last_error_and_versions(rig: Rig) -> None:
    lookup = rig.services.lookup
    await lookup.find(read_dialed(NUMBER, None))  # nobody listens there
    before, after = personas_of("default")
    key = (NUMBER, read_dialed(NUMBER, None).digits, read_dialed(NUMBER, None).region)
    lookup._cache.offer(key, Fetched(after, age_s=70.0))
    async with rig.client() as client:
        headers = await rig.token("operator")
        path = "/api/personas?numbers=clear"
        (row,) = (await client.get(path, headers=headers)).json()["items"]
        query = {"version": row["version"], "before": row["version_before"]}
        diff = (await client.get("/api/personas/diff", params=query, headers=headers)).json()
        await signed_in(rig, client, "operator")
        page = (await client.get("/numbers")).text
        changed = (await client.get("/numbers/diff", params=query)).text

    assert (row["number"], row["origin"], row["freshness"]) == (NUMBER, "api", "revalidating")
    assert row["trouble"]
    assert (row["version"], row["version_before"]) == (after.version, before.version)
    assert row["last_call_id"] == "call-of-default"
    assert '-  "personality": "You were somebody else."' in diff["diff"]
    assert NUMBER[2:] not in page
    assert "what changed" in page
    assert '<span class="added">+' in changed


async def test_an_operator_purges_a_number_or_all_and_a_viewer_does_not(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        csrf = csrf_of((await client.get("/numbers?numbers=clear")).text)
        done = [
            await client.post("/numbers/purge", data={"number": number, "csrf": csrf})
            for number in (NUMBER, "", "soon", DIALED)
        ]
        deeds = await rig.services.access.accounts.deeds("default")
        viewer = await client.get("/api/personas", headers=await rig.token("viewer"))
        headers = await rig.token("viewer")
        refused = await client.post("/numbers/purge", headers=headers, data={"a": "b"})

    assert [one.status_code for one in done] == [303, 303, 422, 303]
    purged = [one.subject for one in deeds if one.did == "personas.purged"]
    assert purged == ["[…20]", "all", "[…00]"]
    assert viewer.status_code == 200
    assert refused.status_code == 403


async def test_a_version_that_did_not_speak_to_ones_own_callers_is_not_shown(rig: Rig) -> None:
    before, _ = personas_of("default")
    unknown = {"version": "sha256:" + "0" * 64, "before": before.version}
    async with rig.client() as client:
        headers = await rig.token("operator")
        answer = await client.get("/api/personas/diff", params=unknown, headers=headers)
        bad = await client.get("/api/personas/diff?version=x&before=y", headers=headers)

    assert (answer.status_code, bad.status_code) == (404, 422)
