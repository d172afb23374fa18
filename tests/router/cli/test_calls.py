"""`calls …`, as an operator types it."""

import asyncio
import csv
import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from personas.reports import CallReport, Closed, Event, Fact, Opened, Turn, numbered
from router.db import Store
from router.records.calls import Calls
from tests.router.cli.test_users import _settings, said

__all__ = ["_settings"]  # fixture

CALLER, DIALED = "+13125550101", "+13125550100"


def kept(folder: "os.PathLike[str]", *call_ids: str) -> None:
    """Keep calls, the first one first."""

    async def keep() -> None:
        store = await Store(f"sqlite:///{os.fspath(folder)}/persona-router.db").open()
        calls = Calls(store, clock=time.time)
        for age, call_id in enumerate(reversed(call_ids)):
            told: tuple[Event, ...] = (
                Opened(direction="inbound", caller=CALLER, dialed_number=DIALED),
                Turn(by="caller", text=f"I am Ruth, {CALLER}"),
                Fact(id="f1", category="name", information="Ruth"),
                Closed(reason="done", disposition="answered", duration_s=9),
            )
            at = time.time() - 60 * age
            made = [numbered(one, seq=n, attempt=1, at=at) for n, one in enumerate(told, 1)]
            await calls.take(CallReport(call_id=call_id, events=tuple(made)))
        await store.aclose()

    asyncio.run(keep())


def test_calls_are_listed_shown_and_exported_with_numbers_masked(
    capsys: pytest.CaptureFixture[str], tmp_path: "os.PathLike[str]"
) -> None:
    kept(tmp_path, "c1", "c2", "c3")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"

    listed = said(capsys, "calls", "list", "--last", "2").splitlines()
    rows = json.loads(said(capsys, "calls", "list", "--json"))
    shown = said(capsys, "calls", "show", "c1")
    clear = json.loads(said(capsys, "calls", "show", "c1", "--clear"))
    exported = list(csv.DictReader(said(capsys, "calls", "export").splitlines()))

    assert [line.split()[0] for line in listed] == ["c3", "c2"]
    assert "answered" in listed[0]
    assert [row["call_id"] for row in rows] == [row["call_id"] for row in exported]
    assert len(rows) == 3
    for text in (*listed, json.dumps(rows), shown, json.dumps(exported)):
        assert CALLER[2:] not in text
        assert DIALED[2:] not in text
    assert json.loads(shown)["facts"][0]["information"] == "Ruth"
    assert (clear["call"]["caller"], len(clear["transcript"])) == (CALLER, 1)
    assert said(capsys, "calls", "list", "--since", tomorrow) == ""
    assert len(said(capsys, "calls", "export", "--until", tomorrow).splitlines()) == 4


def test_a_call_that_is_not_there_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert "calls list" in said(capsys, "calls", "show", "x", status=4)


@pytest.mark.parametrize("which", ["users", "tokens", "numbers", "leads", "consent", "dnc"])
def test_lists_are_json_where_it_is_wanted(capsys: pytest.CaptureFixture[str], which: str) -> None:
    assert json.loads(said(capsys, which, "list", "--json")) == []
