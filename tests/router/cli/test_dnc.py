"""`dnc …`, as an operator types it."""

import os
from pathlib import Path

import pytest

from tests.router.cli.test_users import _settings, said

__all__ = ["_settings"]  # fixture

NUMBER = "+13125550123"


def test_a_number_is_added_listed_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "dnc", "add", NUMBER, "--reason", "asked to") == "added\n"
    assert said(capsys, "dnc", "add", NUMBER) == "it was there already\n"

    assert NUMBER not in said(capsys, "dnc", "list")
    assert NUMBER in said(capsys, "dnc", "list", "--clear")
    assert said(capsys, "dnc", "list", "--csv", "--clear").startswith("number,scope,since")
    assert said(capsys, "dnc", "remove", NUMBER) == "removed\n"
    assert "dnc list" in said(capsys, "dnc", "remove", NUMBER, status=4)


def test_a_file_is_imported_and_its_bad_lines_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"number\n{NUMBER}\nsoon\n", encoding="utf-8")

    assert "no number in 1 lines (3)" in said(capsys, "dnc", "import", os.fspath(file), status=6)

    file.write_text(f"{NUMBER}\n+13125550124\n", encoding="utf-8")
    told = said(capsys, "dnc", "import", os.fspath(file), "--campaign", "spring")
    assert told == "imported: 2 added, 0 were there already\n"
    assert "campaign:spring" in said(capsys, "dnc", "list")


def test_what_cannot_be_done_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    large = tmp_path / "large.csv"
    large.write_bytes(b"1" * (5 * 1024 * 1024 + 1))

    assert "E.164" in said(capsys, "dnc", "add", "soon", status=2)
    assert "cannot read" in said(capsys, "dnc", "import", os.fspath(tmp_path / "no"), status=4)
    assert "split it" in said(capsys, "dnc", "import", os.fspath(large), status=6)
