"""The dialer and a campaign's run, on pages: calls by a click, what goes on, and how it was."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from router.records.attempts import Attempt
from router.records.outcomes import AttemptFilter, Outcomes
from tests.router.api.rig import Rig, open_rig
from tests.router.dashboard.rig import csrf_of, signed_in
from tests.router.daytime import leads_csv

NUMBERS = [f"+1312555{number:04}" for number in range(100, 125)]
UNWILLING = NUMBERS[1]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, sip_trunk_id="ST_made_up") as rig:
        await rig.services.leads.add("default", "one.csv", leads_csv(*NUMBERS))
        await rig.services.leads.select("default", "one.csv")
        await rig.services.do_not_call.add(UNWILLING, source="api")
        yield rig


async def sent(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    csrf = csrf_of((await client.get("/dialer")).text)
    return await client.post(path, data={"csrf": csrf, **fields})


async def attempts(rig: Rig) -> tuple[Attempt, ...]:
    page = await Outcomes(rig.services.store).page(AttemptFilter(tenant="default"))
    return page.rows


async def test_the_first_call_of_a_session_is_asked_for_and_the_next_ones_are_not(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    lead = {"campaign": "default", "list": "one.csv", "lead": "1", "next": "/dialer?after=0"}
    asked = await sent(client, "/dialer/call", **lead)
    none_yet = await attempts(rig)
    made = await sent(client, "/dialer/call", **lead, sure="on")
    second = await sent(client, "/dialer/call", **lead | {"lead": "3"})
    page = (await client.get("/dialer")).text

    assert "A real phone will ring." in asked.text
    assert none_yet == ()
    assert 'value="2" aria-label="Call now 2 Person 2" autofocus' in page
    assert made.headers["location"] == "/dialer?after=0&at=2&auto_next=off"
    assert second.status_code == 303
    assert {one.number for one in await attempts(rig)} == {NUMBERS[0], NUMBERS[2]}
    assert page.count('class="end"') == 2
    assert '<span class="tag live">running' in page
    assert NUMBERS[0] not in page
    await client.post("/logout", data={"csrf": csrf_of(page)})
    await client.post("/login", data={"email": "operator@example.org", "password": "wrong"})
    assert (await client.post("/dialer/call", data=lead)).headers["location"] == "/login"


async def test_the_next_one_is_behind_whom_was_called_and_a_box_stays_as_it_was(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    assert '"auto_next" checked' not in (await client.get("/dialer")).text
    made = await sent(client, "/dialer/call", lead="5", sure="on", next="/dialer?list=one.csv")
    behind = (await client.get(made.headers["location"])).text
    refused = await sent(client, "/dialer/call", lead="2", next="/dialer?at=6")
    back = refused.text.split(" autofocus>Back</a>")[0].rpartition('href="')[2]
    after = (await client.get(back.strip('"').replace("&amp;", "&"))).text
    ticked = (await client.get("/dialer?auto_next=on")).text
    (_, first) = await attempts(rig)
    path = f"/attempts/{first.attempt_id}"
    asked = (await client.get(path, params={"next": "/dialer?at=6"})).text
    away = (await client.get(path, params={"next": "https://example.org/"})).text
    kept = await sent(client, path, note="busy at noon", next="/dialer?at=6")

    assert 'value="6" aria-label="Call now 6 Person 6" autofocus' in behind
    assert '"auto_next" checked' not in behind
    assert 'value="3" aria-label="Call now 3 Person 3" autofocus' in after
    assert '"auto_next" checked' in ticked
    assert 'name="next" value="/dialer?at=6"' in asked
    assert 'value="https' not in away
    assert kept.headers["location"] == "/dialer?at=6"


async def test_whom_the_gate_refuses_nobody_calls_and_the_page_says_what_to_do(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    refused = await sent(client, "/dialer/call", lead="2", sure="on")
    again = await sent(client, "/dialer/call", number=UNWILLING, sure="on")
    page = (await client.get("/dialer")).text
    (second, first) = await attempts(rig)
    shown = (await client.get(f"/attempts/{first.attempt_id}")).text

    assert (refused.status_code, "does not want to be called" in refused.text) == (409, True)
    assert again.status_code == 409
    assert (first.state, second.state) == ("refused", "refused")
    assert first.dialed_at is None
    assert "do not call" in page
    assert "leave it at that" in shown


async def test_a_call_is_ended_noted_and_shown_with_what_the_gate_knew(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    await sent(client, "/dialer/call", number="(312) 555-0100", sure="on")
    (made,) = await attempts(rig)
    await sent(client, "/dialer/end", attempt_id=made.attempt_id)
    stopping = (await client.get("/dialer")).text
    path = f"/attempts/{made.attempt_id}"
    early = await sent(client, path, disposition="call_back")
    await rig.services.engine.attempts.end(made.attempt_id, "canceled", "hung up")
    noted = await sent(client, path, note="Call <b>back</b>\r\nat ten", disposition="call_back")
    page = (await client.get(path)).text
    api = (await client.get(f"/api/attempts/{made.attempt_id}")).json()
    rows = (await client.get("/api/attempts?state=canceled&format=csv")).text

    assert '<span class="tag warn">stopping' in stopping
    assert (early.status_code, "when it is over" in early.text) == (409, True)
    assert noted.headers["location"] == path
    assert api["hang_up"] == "an operator hung up"
    assert "Call &lt;b&gt;back" in page
    assert "Etc/GMT" in page  # the active list says where the number is
    assert made.number not in page
    assert (api["state"], api["disposition"]) == ("canceled", "call_back")
    assert api["note"] == "Call <b>back</b>\nat ten"
    assert len(rows.splitlines()) == 3  # the note has two lines
    deeds = [deed.did for deed in await rig.services.access.accounts.deeds("default")]
    assert sorted(deeds) == ["attempt.annotated", "attempt.hung_up", "attempt.made"]


async def test_prospects_come_page_by_page_and_calls_go_on_with_the_next_one(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    first = (await client.get("/dialer")).text
    last = (await client.get("/dialer?after=20")).text
    begun = await sent(client, "/dialer/call", lead="21", auto_next="on", sure="on")
    status = await rig.services.engine.status("default")
    stopped = await sent(client, "/dialer/stop", campaign="default")
    after = await rig.services.engine.status("default")

    assert "Person 20" in first
    assert "Person 21" not in first
    assert 'rel="next"' in first
    assert "Person 25" in last
    assert 'rel="prev"' in last
    assert begun.status_code == 303
    assert status.run is not None
    assert (status.run.mode, status.run.position >= 20) == ("next", True)
    assert stopped.status_code == 303
    assert after.state in ("stopping", "idle")


async def test_a_campaigns_page_starts_pauses_and_stops_its_run_and_shows_how_it_goes(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    path = "/campaigns/default"
    begun = await sent(client, f"{path}/run", wish="start")
    twice = await sent(client, f"{path}/run", wish="start")
    running = (await client.get(path)).text
    await sent(client, f"{path}/run", wish="pause")
    paused = await rig.services.engine.status("default")
    await sent(client, f"{path}/run", wish="stop_now")
    idle = (await client.get(path)).text
    rubbish = await sent(client, f"{path}/run", wish="dance")

    assert begun.headers["location"] == path
    assert twice.status_code == 409
    assert 'value="pause"' in running
    assert "Etc/GMT" in running
    assert paused.state in ("pausing", "paused")
    assert 'value="pause"' not in idle
    assert rubbish.status_code == 422
    assert all(one.hang_up for one in await attempts(rig) if one.is_open)


async def test_what_is_uncertain_is_shown_with_what_to_do(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    await sent(client, "/dialer/call", lead="4", sure="on")
    (made,) = await attempts(rig)
    await rig.services.engine.attempts.end(made.attempt_id, "uncertain", "LiveKit was away")
    campaign = (await client.get("/campaigns/default")).text
    page = (await client.get(f"/attempts/{made.attempt_id}")).text

    assert "A phone may have rung, and nobody knows." in campaign
    assert f"/attempts/{made.attempt_id}#note" in campaign
    assert "Look into the records of your carrier" in page


async def test_viewers_look_and_call_nobody(rig: Rig) -> None:
    async with rig.client() as viewer:
        await signed_in(rig, viewer, "viewer")
        page = (await viewer.get("/dialer")).text
        campaign = (await viewer.get("/campaigns/default")).text
        csrf = csrf_of(page)
        refused = await viewer.post("/dialer/call", data={"csrf": csrf, "lead": "1", "sure": "on"})

    assert "Person 1" in page
    assert "/dialer/call" in page  # the rows' form; it has no button
    assert 'name="lead"' not in page
    assert 'name="wish"' not in campaign
    assert refused.status_code == 403
    assert await attempts(rig) == ()
