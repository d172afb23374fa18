"""Calls, facts and totals as clients get them: pages, filters, CSV, masks, tenants."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from personas.reports import CallReport, Closed, Event, Fact, Opened, Turn, numbered
from router.records.call_tables import calls
from tests.router.api.rig import Rig, open_rig

CALLER = "+13125550123"
DIALED = "+4930901820"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    kept = dict.fromkeys(("records_days", "transcripts_days", "facts_days"), 36_500)
    async with open_rig(tmp_path, **kept) as rig:  # the calls here began in 2023
        yield rig


async def told(rig: Rig, call_id: str, *events: Event, at: float = 1_700_000_000.0) -> None:
    opened = Opened(room=f"call-_{CALLER}_x", caller=CALLER, dialed_number=DIALED)
    made = [
        numbered(event, seq=seq, attempt=1, at=at + seq)
        for seq, event in enumerate((opened, *events), 1)
    ]
    await rig.services.calls.take(CallReport(call_id=call_id, events=tuple(made)))


ENDED = Closed(reason="the caller hung up", disposition="answered", duration_s=9.0, facts=1)
FACT = Fact(id="f1", category="contact_details", information=f"reach me on {CALLER}")


async def test_a_call_is_shown_whole_with_every_number_masked(rig: Rig) -> None:
    await told(rig, "c1", Turn(by="caller", text=f"I am on {CALLER}."), FACT, ENDED)
    async with rig.client() as client:
        answer = await client.get("/api/calls/c1", headers=await rig.token("viewer"))

    shown = answer.json()
    assert shown["call"]["disposition"] == "answered"
    assert shown["transcript"][0]["text"] == "I am on […23]."
    assert shown["facts"][0]["information"] == "reach me on […23]"
    assert "3125550123" not in answer.text
    assert "30901820" not in answer.text


async def test_an_operator_sees_numbers_on_request_and_that_is_audited(rig: Rig) -> None:
    await told(rig, "c1")
    async with rig.client() as client:
        path = "/api/calls/c1?numbers=clear"
        refused = await client.get(path, headers=await rig.token("viewer"))
        shown = await client.get(path, headers=await rig.token("operator"))
        deeds = await client.get("/api/audit", headers=await rig.token("admin"))

    assert refused.status_code == 403
    assert shown.json()["call"]["caller"] == CALLER
    (deed,) = deeds.json()["items"]
    assert (deed["did"], deed["subject"]) == ("numbers.revealed", "/api/calls/c1")


async def test_pages_follow_one_another_and_no_call_is_missed(rig: Rig) -> None:
    for number in range(5):
        await told(rig, f"c{number}", at=1_700_000_000.0 + number)
    seen: list[str] = []
    async with rig.client() as client:
        headers = await rig.token("viewer")
        following = ""
        while True:
            page = (await client.get(f"/api/calls?limit=2{following}", headers=headers)).json()
            seen += [row["call_id"] for row in page["items"]]
            if page["next"] is None:
                break
            following = f"&cursor={page['next']}"

    assert seen == ["c4", "c3", "c2", "c1", "c0"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("disposition=answered", ["c1"]),
        ("outcome=answered", ["c1"]),
        ("open=true", ["c2"]),
        ("open=false", ["c1"]),
        ("caller=%2B13125550123", ["c2", "c1"]),
        ("caller=%2B19999999999", []),
        ("since=1700000005", ["c2"]),
        ("until=1700000005", ["c1"]),
        ("direction=outbound", []),
    ],
)
async def test_filters_narrow_the_list(rig: Rig, query: str, found: list[str]) -> None:
    await told(rig, "c1", ENDED)
    await told(rig, "c2", at=1_700_000_010.0)
    async with rig.client() as client:
        page = await client.get(f"/api/calls?{query}", headers=await rig.token("viewer"))

    assert [row["call_id"] for row in page.json()["items"]] == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("since=soon", "since"),
        ("since=inf", "since"),
        ("color=red", "color"),
        ("direction=up", "direction"),
        ("cursor=xyz", "cursor"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_named(rig: Rig, query: str, field: str) -> None:
    async with rig.client() as client:
        answer = await client.get(f"/api/calls?{query}", headers=await rig.token("viewer"))

    assert answer.status_code == 422
    assert field in answer.json()["fix"] or field in answer.json()["code"]


async def test_facts_are_listed_by_category_and_call(rig: Rig) -> None:
    other = Fact(id="f2", category="qualification", information="wants a loan")
    await told(rig, "c1", FACT, other)
    await told(rig, "c2", FACT, at=1_700_000_100.0)
    async with rig.client() as client:
        headers = await rig.token("viewer")
        qualified = await client.get("/api/information?category=qualification", headers=headers)
        of_call = await client.get("/api/agentic/information?call_id=c2", headers=headers)

    (row,) = qualified.json()["items"]
    assert (row["session_id"], row["information"], row["status"]) == (
        "c1",
        "wants a loan",
        "stored",
    )
    assert [row["id"] for row in of_call.json()["items"]] == ["f1"]


async def test_the_summary_counts_sessions_facts_and_what_goes_on(rig: Rig) -> None:
    await told(rig, "c1", FACT, ENDED)
    await told(rig, "c2", FACT, at=1_700_000_100.0)
    async with rig.client() as client:
        headers = await rig.token("viewer")
        totals = (await client.get("/api/summary", headers=headers)).json()
        sessions = (await client.get("/api/sessions", headers=headers)).json()

    assert (totals["calls"], totals["sessions"], totals["active"], totals["facts"]) == (2, 2, 1, 2)
    assert totals["facts_by_category"] == {"contact_details": 2}
    assert [row["id"] for row in totals["recent"]] == ["c2", "c1"]
    assert [row["status"] for row in sessions["items"]] == ["active", "ended"]


async def test_the_csv_twin_has_the_same_rows_and_runs_no_formula(rig: Rig) -> None:
    await told(rig, "c1", Fact(id="f1", category="other", information='=HYPERLINK("x","y"), "z"'))
    async with rig.client() as client:
        headers = await rig.token("viewer")
        answer = await client.get("/api/information?format=csv&limit=1", headers=headers)

    assert answer.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["information"] == '\'=HYPERLINK("x","y"), "z"'


async def test_another_tenants_calls_are_not_there(rig: Rig) -> None:
    await told(rig, "c1", FACT)
    await rig.services.store.write(lambda c: c.execute(sa.update(calls).values(tenant="north")))
    async with rig.client() as client:
        headers = await rig.token("admin", "default")
        assert (await client.get("/api/calls/c1", headers=headers)).status_code == 404
        assert (await client.get("/api/calls", headers=headers)).json()["items"] == []
        north = await rig.token("viewer", "north")
        assert (await client.get("/api/calls/c1", headers=north)).status_code == 200
