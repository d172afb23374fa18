"""The environment: what is refused, in which words, and that no value is ever shown."""

import sys
from pathlib import Path

import pytest

from personas.errors import SettingsInvalid
from personas.settings import env_names
from router.settings import RouterSettings

SECRET = "made-up-secret-made-up-secret-32"
WELL = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": SECRET,
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    for name, field in RouterSettings.model_fields.items():
        for variable in env_names(name, field):
            monkeypatch.delenv(variable, raising=False)
            monkeypatch.delenv(f"{variable}_FILE", raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **changed: str) -> RouterSettings:
    for name, value in (WELL | changed).items():
        monkeypatch.setenv(name, value)
    return RouterSettings.load()


def problems(monkeypatch: pytest.MonkeyPatch, **changed: str) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load(monkeypatch, **changed)
    return "\n".join(caught.value.problems)


def test_three_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)

    assert settings.agent_to_dispatch == "friday-ai-agent"
    assert settings.api_base() == "https://devcrm.xeny.ai/apis/api/public/mobile"
    assert settings.number_forms() == ("dialed", "e164", "national")
    assert settings.store_url() == "sqlite:///state/persona-router.db"
    assert settings.webhook_keys() == {"devkey": SECRET}


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        RouterSettings.load()

    assert len(caught.value.problems) == 3
    for name, problem in zip(WELL, caught.value.problems, strict=True):
        assert problem.startswith(f"{name}: is not set")


def test_all_that_is_wrong_is_said_at_once_and_no_value_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {
        "LIVEKIT_URL": "wrong-0",
        "LIVEKIT_API_SECRET": "wrong-1",
        "LIVEKIT_WEBHOOK_KEYS": "wrong-2",
        "PERSONA_API_BASE": "wrong-3",
        "PERSONA_API_FORMS": "wrong-4",
        "PERSONA_BUDGET_S": "wrong-5",
        "DEFAULT_REGION": "wrong-6",
        "TRUNK_REGIONS": "wrong-7",
        "TRUNK_NUMBERS": "wrong-8",
        "DATABASE_URL": "wrong-9",
        "PORT": "wrong-10",
        "LOG_LEVEL": "wrong-11",
    }

    said = problems(monkeypatch, **wrong)

    assert [line.partition(":")[0] for line in said.splitlines()] == list(wrong)
    assert "wrong" not in said


@pytest.mark.parametrize("secret", ["short", "x" * 31])
def test_a_short_secret_is_refused_unless_in_development(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    said = problems(monkeypatch, LIVEKIT_API_SECRET=secret)

    assert "LIVEKIT_API_SECRET: holds a secret shorter than 32 bytes" in said
    assert "--dev" in said
    assert load(monkeypatch, LIVEKIT_API_SECRET=secret, ROUTER_DEV="1").router_dev


def test_further_webhook_keys_stand_beside_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, LIVEKIT_WEBHOOK_KEYS=f"next:{SECRET}:with-colon, old:{SECRET}2")

    assert settings.webhook_keys() == {
        "next": f"{SECRET}:with-colon",
        "old": f"{SECRET}2",
        "devkey": SECRET,
    }


def test_a_short_further_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LIVEKIT_WEBHOOK_KEYS" in problems(monkeypatch, LIVEKIT_WEBHOOK_KEYS="next:short")


def test_trunks_have_regions_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, TRUNK_REGIONS="ST_1=de, ST_2=GB", TRUNK_NUMBERS="ST_1=+4930901820")

    assert settings.region_by_trunk() == {"ST_1": "DE", "ST_2": "GB"}
    assert settings.number_by_trunk() == {"ST_1": "+4930901820"}


def test_the_persona_api_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, PERSONA_API_BASE="off").api_base() is None


def test_the_agent_may_be_named_by_the_older_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, LK_AGENT_NAME="friday")

    assert settings.agent_to_dispatch == "friday"
    assert settings.origins()["AGENT_TO_DISPATCH"] == "environment (LK_AGENT_NAME)"


def test_secrets_are_hidden_and_every_value_says_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("made-up-token\n")
    (tmp_path / ".env").write_text("PORT=9000\nHOST=127.0.0.2\n")
    (tmp_path / ".env.local").write_text("PORT=9001\n")
    settings = load(monkeypatch, PERSONA_API_TOKEN_FILE=str(tmp_path / "token"))

    shown, origins = settings.shown(), settings.origins()

    assert settings.persona_api_token.get_secret_value() == "made-up-token"
    assert shown["LIVEKIT_API_SECRET"] == shown["PERSONA_API_TOKEN"] == "********"
    assert (shown["PORT"], shown["HOST"]) == ("9001", "127.0.0.2")
    assert origins["LIVEKIT_URL"] == "environment"
    assert origins["PERSONA_API_TOKEN"] == "PERSONA_API_TOKEN_FILE"
    assert (origins["PORT"], origins["HOST"]) == (".env.local", ".env")
    assert origins["LOG_LEVEL"] == "default"
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "url", ["", "redis://127.0.0.1:6379/0", "rediss://:pw@r.example", "unix:///run/redis.sock"]
)
def test_an_address_of_redis_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load(monkeypatch, REDIS_URL=url).redis_url.get_secret_value() == url


def test_another_address_is_no_redis_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = problems(monkeypatch, REDIS_URL="http://:hunter2@r.example")

    assert "REDIS_URL" in said
    assert "redis://" in said
    assert "hunter2" not in said


def test_redis_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)

    assert "persona-router[redis]" in problems(monkeypatch, REDIS_URL="redis://127.0.0.1")


@pytest.mark.parametrize(
    ("number", "good"),
    [
        ("", True),
        ("+13125550188", True),
        ("sip:desk@example.com", True),
        ("sips:desk@example.com:5061", True),
        ("tel:+13125550188", True),
        ("13125550188", False),
        ("desk", False),
        ("sip:desk", False),
        ("+1 312", False),
    ],
)
def test_a_fallback_number_is_e164_or_an_address(
    monkeypatch: pytest.MonkeyPatch, number: str, good: bool
) -> None:
    if good:
        assert load(monkeypatch, FALLBACK_NUMBER=number).fallback_number == number
        return
    with pytest.raises(SettingsInvalid, match="FALLBACK_NUMBER"):
        load(monkeypatch, FALLBACK_NUMBER=number)
