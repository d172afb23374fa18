"""`campaign run|pause|resume|stop|status`: wishes that routers read."""

import asyncio
import json
from pathlib import Path

import pytest

from router.campaigns.gate import GateVerdict
from router.cli import dialing, run
from router.db import Store
from router.engine import RunStatus
from router.records.runs import campaign_runs
from router.settings import RouterSettings
from tests.router.test_engine import Desk as Routers


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leads.csv").write_text("phone\n+13125550100\n+13125550101\n", encoding="utf-8")
    monkeypatch.setenv("LEADS_CSV_PATH", str(tmp_path / "leads.csv"))
    monkeypatch.setenv("LIVEKIT_URL", "ws://127.0.0.1:7880")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "s" * 32)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    caught = capsys.readouterr()
    return caught.out + caught.err


def test_a_run_is_begun_paused_resumed_and_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    begun = json.loads(said(capsys, "campaign", "run", "default", "--detach", "--json"))
    assert (begun["state"], begun["leads"], begun["position"]) == ("running", 2, 0)

    assert "not_idle" in said(capsys, "campaign", "run", "default", "--detach", status=6)
    assert said(capsys, "campaign", "pause", "default").strip() == "paused"
    assert said(capsys, "campaign", "resume", "default").strip() == "running"
    assert said(capsys, "campaign", "stop", "default", "--now").strip() == "idle"

    assert "idle" in said(capsys, "campaign", "status", "default")


def test_one_lead_alone_is_named_by_the_environment_of_older_dialers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUN_SINGLE_CALL", "1")
    monkeypatch.setenv("LEAD_INDEX", "2")

    said(capsys, "campaign", "run", "default", "--detach")

    async def look() -> tuple[str, int]:
        store = await Store(f"sqlite:///{tmp_path / 'state' / 'persona-router.db'}").open()
        try:
            row = await store.read(lambda c: c.execute(campaign_runs.select()).one())
            return row.mode, row.position
        finally:
            await store.aclose()

    assert asyncio.run(look()) == ("one", 1)


def test_a_run_that_no_router_takes_up_is_said_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "TAKEN_UP_S", 0.0)

    assert "serve" in said(capsys, "campaign", "run", "default", status=5)


def test_a_bar_shows_how_far_it_is_until_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "campaign", "run", "default", "--detach")

    async def work(desk: dialing.Desk) -> RunStatus:
        router = Routers(desk.store)
        for number in ("+13125550100", "+13125550101"):
            router.refused[number] = GateVerdict(False, "do_not_call")
        working = asyncio.create_task(router.engine().run())
        try:
            return await dialing.follow(desk, "default", "default")
        finally:
            working.cancel()

    found = dialing.with_desk(RouterSettings.load(), work)

    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "2 refused" in shown
    assert "refused    2" in dialing.as_text(found)


@pytest.mark.parametrize("wish", ["pause", "resume", "stop"])
def test_a_campaign_that_never_ran_cannot_be_stopped(
    capsys: pytest.CaptureFixture[str], wish: str
) -> None:
    assert "never run" in said(capsys, "campaign", wish, "default", status=4)
