"""`users …` and `tokens …`, as an operator types them."""

import io
import os

import pytest

from router.cli import run

ANN = "ann@example.org"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: "os.PathLike[str]") -> None:
    for name, value in {
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "devkey",
        "LIVEKIT_API_SECRET": "made-up-secret-of-thirty-two-bytes",
        "STATE_DIR": os.fspath(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    caught = capsys.readouterr()
    return caught.err if status else caught.out


def typed(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))


def test_a_user_is_added_listed_changed_and_disabled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "correct horse battery")
    assert "may now sign in as operator" in said(capsys, "users", "add", ANN, "--role", "operator")
    assert "operator" in said(capsys, "users", "list")

    assert "signed out everywhere" in said(capsys, "users", "change", ANN, "--role", "admin")
    said(capsys, "users", "change", ANN, "--disable")

    listed = said(capsys, "users", "list")
    assert "admin" in listed
    assert "disabled" in listed


@pytest.mark.parametrize(
    ("arguments", "password", "status", "words"),
    [
        (("users", "add", ANN), "short", 6, "12 characters"),
        (("users", "add", "nobody"), "correct horse battery", 6, "name@example.org"),
        (("users", "add", ANN, "--role", "root"), "", 2, "viewer, operator, admin"),
        (("users", "change", ANN), "", 4, "users list"),
        (("users", "change", ANN, "--enable", "--disable"), "", 2, "--enable or --disable"),
        (("tokens", "revoke", "0"), "", 4, "tokens list"),
    ],
)
def test_what_cannot_be_done_says_why_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    arguments: tuple[str, ...],
    password: str,
    status: int,
    words: str,
) -> None:
    typed(monkeypatch, password)

    assert words in " ".join(said(capsys, *arguments, status=status).split())


def test_a_token_is_printed_once_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "tokens", "add", "ci", "--role", "viewer", "--days", "7").strip()
    token_id = shown.removeprefix("prt_").partition("_")[0]

    assert "never used" in said(capsys, "tokens", "list")
    assert shown not in said(capsys, "tokens", "list")
    said(capsys, "tokens", "revoke", token_id)
    assert "revoked" in said(capsys, "tokens", "list")
