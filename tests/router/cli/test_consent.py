"""`consent …`, as an operator types it."""

import os
from pathlib import Path

import pytest

from tests.router.cli.test_users import _settings, said

__all__ = ["_settings"]  # fixture

NUMBER = "+13125550123"


def test_consent_is_added_withdrawn_and_imported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    rows = f"phone,consent,consent_at,consent_source\n{NUMBER},recording,2026-01-02,form\n12,,,\n"
    file.write_text(rows, encoding="utf-8")

    assert said(capsys, "consent", "add", NUMBER, "--source", "fair") == "added\n"
    assert "imported: 1 agreements" in said(capsys, "consent", "import", os.fspath(file))
    assert said(capsys, "consent", "withdraw", NUMBER) == "withdrawn\n"

    assert NUMBER not in said(capsys, "consent", "list")
    shown = said(capsys, "consent", "list", "--clear").splitlines()
    assert sorted(line.split()[1:3] for line in shown) == [
        ["calls", "withdrawn"],
        ["recording", "stands"],
    ]
    assert "E.164" in said(capsys, "consent", "withdraw", "soon", status=2)
    assert "cannot read" in said(capsys, "consent", "import", "none.csv", status=4)
