"""deploy/.env.example knows every setting, and nothing else."""

import re
from pathlib import Path

import pytest

from agent.settings import AgentSettings
from personas.settings import Environment, env_names
from router.settings import RouterSettings

EXAMPLE = Path(__file__).parents[2] / "deploy" / ".env.example"
LINE = re.compile(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def shown() -> dict[str, str]:
    return {name: value for _, name, value in LINE.findall(EXAMPLE.read_text(encoding="utf-8"))}


def names(settings: type[Environment]) -> set[str]:
    return {env_names(name, field)[0] for name, field in settings.model_fields.items()}


def test_the_example_shows_each_setting_once() -> None:
    written = [name for _, name, _ in LINE.findall(EXAMPLE.read_text(encoding="utf-8"))]

    assert sorted(written) == sorted(names(RouterSettings) | names(AgentSettings))


@pytest.mark.parametrize("settings", [RouterSettings, AgentSettings])
def test_what_the_example_shows_is_the_default_or_at_least_valid(
    settings: type[Environment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in shown().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LIVEKIT_API_SECRET", "made-up-secret-of-more-than-32-bytes")

    assert isinstance(settings.load(), settings)


def test_the_example_holds_no_secret() -> None:
    secret = re.compile(r"(SECRET|TOKEN|_KEY|WEBHOOK_KEYS)$")
    filled = {name for name, value in shown().items() if secret.search(name) and value}

    assert filled == {"LIVEKIT_API_KEY"}  # a name, not a secret
