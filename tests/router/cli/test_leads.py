"""`leads …`, as an operator types them."""

from pathlib import Path

import pytest

from router.cli import run

CSV = "phone;prospect_name\n312 555 0101;Ann\n4.91E+11;Bob\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    caught = capsys.readouterr()
    return caught.err if status else caught.out


def test_a_list_is_imported_listed_selected_exported_and_deleted(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    assert "1 leads, 1 bad rows" in said(capsys, "leads", "import", str(file))
    assert said(capsys, "leads", "list").startswith("  one.csv")

    said(capsys, "leads", "select", "one.csv")

    assert said(capsys, "leads", "list").startswith("* one.csv")
    assert "Ann" in said(capsys, "leads", "preview", "one.csv")
    assert "'+13125550101" in said(capsys, "leads", "export", "one.csv")
    said(capsys, "leads", "delete", "one.csv")
    assert said(capsys, "leads", "list") == ""


def test_bad_rows_are_named_and_written_to_a_file(
    capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"

    assert run(["leads", "import", str(file), "--check", "--bad", str(bad)]) == 0

    assert "row 3: excel_number" in capsys.readouterr().err
    assert "4.91E+11,Bob,3,excel_number" in bad.read_text(encoding="utf-8-sig")
    assert said(capsys, "leads", "list") == ""


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("leads", "import", "nowhere.csv"), 4, "cannot read"),
        (("leads", "select", "x"), 4, "leads list"),
        (("leads", "export", "x"), 4, "leads list"),
        (("leads", "delete", "x"), 4, "leads list"),
    ],
)
def test_what_cannot_be_done_says_why(
    capsys: pytest.CaptureFixture[str], *, arguments: tuple[str, ...], status: int, words: str
) -> None:
    assert words in said(capsys, *arguments, status=status)


def test_a_file_without_leads_is_a_failed_check(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "none.csv"
    path.write_text("phone\nnobody\n", encoding="utf-8")

    assert "row 2" in said(capsys, "leads", "import", str(path), status=6)


def test_the_settings_lists_are_there_without_an_import(
    capsys: pytest.CaptureFixture[str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADS_CSV_PATH", str(file))

    assert said(capsys, "leads", "list").startswith("* one.csv")
