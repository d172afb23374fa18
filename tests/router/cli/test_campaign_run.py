"""`campaign check` and `campaign run --dry-run`: what would be called, and why not the others."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from router.cli import run
from router.db import Store
from router.records.do_not_call import DoNotCall

NOON = "2026-11-20T12:00:00-06:00"
CONSENT = "calls,2026-01-02,form"
CSV = f"""phone,prospect_name,company_name,timezone,consent,consent_at,consent_source
+13125550101,Ann,Alder,,{CONSENT}
+13125550102,Bob,,,{CONSENT}
+13125550103,Eve,Elm,Asia/Tokyo,{CONSENT}
+13125550104,Max,Maple,,,,
+18005550101,Zoe,Zinnia,,{CONSENT}
12,Nobody,None,,{CONSENT}
"""


@pytest.fixture(autouse=True)
def _campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "spring.yaml").write_text(
        "name: Spring\n"
        "session_text: Hello [Prospect Name] of [Company Name]. Your [Job Title] matters.\n",
        encoding="utf-8",
    )
    (tmp_path / "leads.csv").write_text(CSV, encoding="utf-8")
    monkeypatch.setenv("CAMPAIGNS_DIR", str(tmp_path / "campaigns"))
    monkeypatch.setenv("LEADS_CSV_PATH", str(tmp_path / "leads.csv"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TRUNK_NUMBERS", "ST_one=+13125550199")
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "+13125550198.yaml").touch()
    monkeypatch.setenv("PERSONA_DIR", str(tmp_path / "personas"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    caught = capsys.readouterr()
    return caught.out + caught.err


async def forbid(state: Path, number: str) -> None:
    store = await Store(f"sqlite:///{state / 'persona-router.db'}").open()
    await DoNotCall(store, clock=time.time).add(number, source="cli")
    await store.aclose()


def test_the_preview_counts_who_would_be_called_and_shows_a_script(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asyncio.run(forbid(tmp_path / "state", "+13125550101"))

    answer = said(capsys, "campaign", "run", "spring", "--dry-run", "--at", NOON, "--row", "2")

    first, second = answer.splitlines()[:2]
    assert first.startswith("5 leads: 1 now, 1 numbers of a kind that is not called, 1 do-not-call")
    assert "1 without consent" in first
    assert "1 outside hours (next slot 2026-11-2" in first
    assert "1 bad rows" in first
    assert "1 missing [Company Name], 5 missing [Job Title]" in first
    assert second == "lead 2: This is an automated assistant. Hello Bob of your company."


def test_a_number_is_checked_with_its_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("campaign", "check", "+13125550101", "--campaign", "spring", "--at", NOON)

    allowed = said(capsys, *arguments, "--list", "leads.csv", "--json")
    refused = said(capsys, *arguments, status=6)

    verdict = json.loads(allowed.splitlines()[0])
    assert (verdict["allowed"], verdict["because"]) == (True, "allowed")
    assert verdict["inputs"]["zones"] == ["America/Chicago"]
    assert "not allowed: no_consent" in refused


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("check", "12", "--campaign", "spring"), 6, "not_a_number"),
        (("check", "+13125550199", "--campaign", "spring"), 6, "own_number"),
        (("check", "+13125550198", "--campaign", "spring"), 6, "own_number"),
        (("check", "+13125550101", "--campaign", "none"), 4, "campaign list"),
        (("check", "+13125550101", "--campaign", "spring", "--at", "noon"), 2, "write the time"),
        (("run", "spring", "--at", "noon"), 2, "write the time"),
        (("run", "none", "--dry-run"), 4, "campaign list"),
        (("run", "spring", "--dry-run", "--list", "none"), 4, "leads list"),
        (("run", "spring", "--dry-run", "--row", "9"), 4, "5 leads"),
    ],
)
def test_what_cannot_be_answered_says_why(
    capsys: pytest.CaptureFixture[str], *, arguments: tuple[str, ...], status: int, words: str
) -> None:
    assert words in " ".join(said(capsys, "campaign", *arguments, status=status).split())
