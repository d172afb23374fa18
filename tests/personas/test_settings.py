from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import AliasChoices, Field, SecretStr, field_validator

from personas.errors import SettingsInvalid
from personas.settings import Environment


class Settings(Environment):
    fixes: ClassVar = {"url": "the address, such as ws://127.0.0.1:7880"}

    url: str
    agent: str = Field(default="friday", validation_alias=AliasChoices("AGENT", "OLD_AGENT"))
    token: SecretStr = SecretStr("")
    budget_s: float = Field(default=2.0, gt=0)
    region: str | None = None

    @field_validator("region")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value == "XX":
            raise ValueError("is not a region")
        return value


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "AGENT", "OLD_AGENT", "TOKEN", "BUDGET_S", "REGION"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    return tmp_path


def test_the_strongest_source_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded() -> tuple[str, str]:
        settings = Settings.load()
        return settings.url, settings.origins()["URL"]

    (folder / ".env").write_text("URL=dotenv\n")
    assert loaded() == ("dotenv", ".env")

    (folder / ".env.local").write_text("URL=local\n")
    assert loaded() == ("local", ".env.local")

    (folder / "secret").write_text("  file\n")
    monkeypatch.setenv("URL_FILE", str(folder / "secret"))
    assert loaded() == ("file", "URL_FILE")

    monkeypatch.setenv("URL", "environment")
    assert loaded() == ("environment", "environment")


def test_the_strongest_source_wins_by_an_alias_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded() -> tuple[str, str]:
        settings = Settings.load(url="u")
        return settings.agent, settings.origins()["AGENT"]

    assert loaded() == ("friday", "default")

    (folder / ".env").write_text("AGENT=dotenv\n")
    (folder / ".env.local").write_text("OLD_AGENT=local\n")
    assert loaded() == ("local", ".env.local")

    (folder / "agent").write_text("file")
    monkeypatch.setenv("OLD_AGENT_FILE", str(folder / "agent"))
    assert loaded() == ("file", "OLD_AGENT_FILE")

    monkeypatch.setenv("OLD_AGENT", "environment")
    assert loaded() == ("environment", "environment (OLD_AGENT)")

    monkeypatch.setenv("AGENT", "proper")
    assert loaded() == ("proper", "environment")


def test_the_command_line_comes_before_all() -> None:
    settings = Settings.load(url="here", region=None)

    assert settings.url == "here"
    assert settings.origins()["URL"] == "command line"
    assert settings.origins()["REGION"] == "default"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", "u")
    monkeypatch.setenv("AGENT", "")

    assert Settings.load().agent == "friday"


def test_all_problems_are_told_at_once_without_values(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("TOKEN_FILE", str(folder / "missing"))
    monkeypatch.setenv("AGENT_FILE", str(folder / "binary"))
    monkeypatch.setenv("BUDGET_S", "soon")
    monkeypatch.setenv("REGION", "XX")

    with pytest.raises(SettingsInvalid) as caught:
        Settings.load()

    problems = sorted(caught.value.problems)
    assert [problem.partition(":")[0] for problem in problems] == [
        "AGENT_FILE",
        "BUDGET_S",
        "REGION",
        "TOKEN_FILE",
        "URL",
    ]
    assert "it is not UTF-8 text" in problems[0]
    assert problems[2] == "REGION: is not a region"
    assert "No such file" in problems[3]
    assert problems[4] == "URL: is not set (the address, such as ws://127.0.0.1:7880)"
    assert "soon" not in str(caught.value)
    assert "XX" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_a_problem_even_if_all_else_is_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL_FILE", str(folder / "missing"))

    with pytest.raises(SettingsInvalid) as caught:
        Settings.load()
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["URL_FILE"]

    monkeypatch.delenv("URL_FILE")
    monkeypatch.setenv("TOKEN_FILE", str(folder / "missing"))
    with pytest.raises(SettingsInvalid) as caught:
        Settings.load(url="u")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["TOKEN_FILE"]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    settings = Settings.load(url="u")

    assert settings.shown() == {
        "URL": "u",
        "AGENT": "friday",
        "TOKEN": "********",
        "BUDGET_S": "2.0",
        "REGION": "-",
    }
    assert "s3cret" not in repr(settings)
    monkeypatch.delenv("TOKEN")
    assert Settings.load(url="u").shown()["TOKEN"] == "-"
