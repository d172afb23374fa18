"""`campaign …`, as an operator types them."""

from pathlib import Path

import pytest

from router.cli import run


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    caught = capsys.readouterr()
    return caught.out + caught.err


def test_a_prompt_module_is_imported_listed_and_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = tmp_path / "spring_sale.py"
    module.write_text('SESSION_INSTRUCTION = "Hello [Prospect Name]."\n', encoding="utf-8")

    assert "imported: spring-sale" in said(capsys, "campaign", "import", str(module))

    assert "spring-sale" in said(capsys, "campaign", "list")
    assert "session_text: Hello [Prospect Name]." in said(capsys, "campaign", "show", "spring-sale")
    assert "key_taken" in said(capsys, "campaign", "import", str(module), status=6)


def test_the_settings_module_is_there_without_an_import(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "old.py").write_text('MINE = "Be kind."\n', encoding="utf-8")
    monkeypatch.setenv("CAMPAIGN_PROMPT_MODULE", "prompts.old")
    monkeypatch.setenv("CAMPAIGN_AGENT_NAME", "MINE")

    assert "agent_text: Be kind." in said(capsys, "campaign", "show", "old")


def test_files_are_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: Good\n", encoding="utf-8")
    bad.write_text("name: Bad\nconcurrency: 0\n", encoding="utf-8")

    assert "ok" in said(capsys, "campaign", "lint", str(good))
    assert "concurrency" in said(capsys, "campaign", "lint", str(good), str(bad), status=6)


def test_a_campaign_that_is_not_there_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert "campaign list" in said(capsys, "campaign", "show", "x", status=4)
    assert "campaign list" in said(capsys, "campaign", "status", "x", status=4)
