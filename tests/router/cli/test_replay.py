"""`replay`, and `explain` of calls and faults, as a user types them, on each database."""

import asyncio
import json
from pathlib import Path

import pytest

from personas.phone import read_dialed
from router.cli import run
from router.db import Store
from router.demo.deliveries import joined
from router.records.claims import Claims
from router.records.journal import Delivered, Journal

DID, CALLER = "8655701159", "+4930901820"
PROMPT = "You are the canary of the coal mine."


def output(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    said = capsys.readouterr()
    assert DID not in said.err
    return said.out


@pytest.fixture
def _journal(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls: one failed, one was dispatched."""

    async def fill() -> None:
        store = await Store(store_url).open()
        ids = iter(["call-failed", "call-well"])
        claims = Claims(
            store, owner="o", lease_s=1.0, clock=lambda: 1.79e9, new_id=lambda: next(ids)
        )
        journal = Journal(store, max_rows=100, days=7.0)
        for room, verdict in (("failed", "failed"), ("well", "dispatched")):
            await claims.take(room=f"call-{CALLER}-{room}", room_sid=f"RM_{room}", sip_call_id=room)
            event = joined(number=DID, caller=CALLER, room=room)
            journal.note(
                Delivered(
                    1.79e9,
                    503 if verdict == "failed" else 200,
                    verdict,
                    "the dialed number; no persona API is configured; it has no file",
                    "answer",
                    event,
                    read_dialed(DID, "US"),
                    f"call-{room}",
                    1,
                    None,
                    {"verify": 0.2, "claim": 1.0, "persona": 7.0, "dispatch": 3.0},
                )
            )
        because = "no agent has come, time after time"
        given_up = joined(number=DID, caller=CALLER, room="failed")._replace(name="watch.given_up")
        journal.note(
            Delivered(
                1.79e9 + 30,
                0,
                "given_up",
                because,
                event=given_up,
                call_id="call-failed",
                attempt=5,
            )
        )
        await journal.aclose()
        await store.aclose()

    monkeypatch.setenv("DATABASE_URL", store_url)
    asyncio.run(fill())


@pytest.mark.usefixtures("_journal")
class TestReplay:
    def test_the_last_deliveries_are_decided_on_again(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / f"+1{DID}.yaml").write_text(f"personality: {PROMPT}\n")
        monkeypatch.setenv("PERSONA_DIR", str(tmp_path))
        monkeypatch.setenv("DEFAULT_REGION", "IN")

        text = output(capsys, "replay", "--last", "5")

        assert text.count("participant_joined") == 2
        assert "then    answer" in text
        assert "now     answer IN […59] from house" in text
        assert text.count("changed number") == 2
        for canary in (DID, CALLER[1:], PROMPT):
            assert canary not in text

    def test_failed_calls_are_found(self, capsys: pytest.CaptureFixture[str]) -> None:
        [one] = json.loads(output(capsys, "replay", "--failed", "--json"))

        assert (one["call_id"], one["verdict"], one["changed"]) == ("call-failed", "failed", [])

    def test_one_is_named_by_its_call(self, capsys: pytest.CaptureFixture[str]) -> None:
        [one] = json.loads(output(capsys, "replay", "call-well", "--json"))

        assert one["call_id"] == "call-well"

    def test_without_livekit_nothing_is_driven_again(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["replay", "--failed", "--redrive"]) == 5

        assert "LiveKit did not answer" in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [["nobody"], ["999999"], ["EV_none"]])
    def test_what_is_not_there_ends_with_4(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        assert run(["replay", *arguments]) == 4

        assert "JOURNAL_DAYS" in capsys.readouterr().err

    def test_a_call_is_explained_stage_by_stage(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = output(capsys, "explain", "--call", "call-well")
        trace = json.loads(output(capsys, "explain", "--call", "call-well", "--json"))

        assert "call      call-well, claimed, attempts: 1" in text
        assert "slowest   persona" in text
        assert trace["slowest"] == "persona"
        assert CALLER[1:] not in text

    def test_what_the_watch_did_for_a_call_is_told(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = output(capsys, "explain", "--call", "call-failed")

        assert "given_up, attempt 5: no agent has come, time after time" in text
        assert "after 1 deliveries" in text

    def test_a_call_that_never_was_ends_with_4(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["explain", "--call", "nobody"]) == 4

        assert "JOURNAL_DAYS" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["replay"], ["replay", "x", "--failed"], ["explain"], ["explain", "1", "--call", "x"]],
)
def test_one_thing_is_asked_for_at_a_time(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_a_journal_that_is_not_there_ends_with_4_and_is_not_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["replay", "--last", "1"]) == 4

    assert "there is no database" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--fault", "moon"], id="unknown"),
        pytest.param(["--fault", "500"], id="no-api"),
        pytest.param(["--at", "yesterday"], id="no-time"),
    ],
)
def test_what_explain_cannot_rehearse_ends_with_2(arguments: list[str]) -> None:
    assert run(["explain", DID, *arguments]) == 2


def test_explain_rehearses_a_fault_at_a_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_API_BASE", "http://127.0.0.1:9")

    assert run(["explain", DID, "--fault", "500", "--at", "2026-12-24T18:00:00Z"]) == 0

    assert "the persona API failed (status_500)" in capsys.readouterr().out
