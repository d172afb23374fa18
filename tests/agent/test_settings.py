from pathlib import Path

import pytest

import agent
from agent.providers import KINDS, NEEDS, PACKAGES, is_installed
from agent.settings import AgentSettings
from personas.errors import SettingsInvalid
from personas.providers import PROVIDERS

KEYS = {
    "DEEPGRAM_API_KEY": "d",
    "AZURE_SPEECH_KEY": "s",
    "AZURE_SPEECH_REGION": "westeurope",
    "AZURE_OPENAI_API_KEY": "o",
    "AZURE_OPENAI_ENDPOINT": "https://llm.example",
    "AZURE_OPENAI_DEPLOYMENT": "gpt",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {
        name for kind in NEEDS.values() for needs in kind.values() for n in needs for name in n
    }
    for name in (
        *KEYS,
        *variables,
        "SPEECH",
        "AGENT_TO_DISPATCH",
        "LK_AGENT_NAME",
        "AZURE_SPEECH_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIVEKIT_URL", "ws://127.0.0.1:7880")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "a secret of no less than 32 bytes")


def test_without_keys_speech_is_offline_and_what_is_missing_is_named() -> None:
    settings = AgentSettings.load()

    assert settings.speech_mode == "offline"
    assert [missing.split(":")[0] for missing in settings.missing_keys()] == ["stt", "llm", "tts"]
    assert settings.missing_keys()[1] == (
        "llm: AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_DEPLOYMENT; "
        "or OPENAI_API_KEY"
    )


def test_one_provider_that_does_it_all_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "o")

    settings = AgentSettings.load()

    assert settings.speech_mode == "providers"
    assert [settings.usable(kind) for kind in KINDS] == [("openai",)] * 3


def test_with_all_keys_the_providers_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    settings = AgentSettings.load()

    assert settings.speech_mode == "providers"
    assert settings.missing_keys() == ()
    assert settings.usable("stt") == ("deepgram", "azure")


def test_an_endpoint_stands_in_for_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SPEECH_KEY", "s")
    assert AgentSettings.load().missing_for("tts", "azure") == ("AZURE_SPEECH_REGION",)

    monkeypatch.setenv("AZURE_SPEECH_ENDPOINT", "http://127.0.0.1:9")

    assert AgentSettings.load().usable("tts") == ("azure",)


def test_a_provider_without_its_plugin_cannot_be_used() -> None:
    assert not is_installed("livekit.plugins.no_such_plugin")
    assert not is_installed("no_such_package.at_all")
    assert all(is_installed(package) for package in PACKAGES.values())


def test_the_agent_has_the_providers_that_a_persona_may_name() -> None:
    assert {kind: tuple(rows) for kind, rows in NEEDS.items()} == PROVIDERS


def test_each_provider_of_the_table_has_its_plugin_and_its_settings() -> None:
    for providers in NEEDS.values():
        for provider, needs in providers.items():
            assert provider in PACKAGES
            for variable in (name for any_of in needs for name in any_of):
                assert variable.lower() in AgentSettings.model_fields


def test_offline_speech_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "SPEECH": "offline"}.items():
        monkeypatch.setenv(name, value)

    assert AgentSettings.load().speech_mode == "offline"


def test_providers_without_their_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECH", "providers")

    with pytest.raises(SettingsInvalid, match="SPEECH=providers needs stt: DEEPGRAM_API_KEY"):
        AgentSettings.load()


def test_the_agents_name_has_an_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AgentSettings.load().agent_to_dispatch == "friday-ai-agent"

    monkeypatch.setenv("LK_AGENT_NAME", "monday")

    assert AgentSettings.load().agent_to_dispatch == "monday"


def test_what_is_missing_is_named_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVEKIT_URL")
    monkeypatch.delenv("LIVEKIT_API_SECRET")

    with pytest.raises(SettingsInvalid) as refused:
        AgentSettings.load()

    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "LIVEKIT_URL",
        "LIVEKIT_API_SECRET",
    ]


def test_the_readmes_table_of_providers_is_that_of_the_program() -> None:
    readme = (Path(agent.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    written = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 6 and cells[0].strip("`") in PACKAGES:
            written[cells[0].strip("`")] = cells[1:5]

    assert written == {
        provider: [
            str(list(NEEDS[kind]).index(provider) + 1) if provider in NEEDS[kind] else ""
            for kind in NEEDS
        ]
        for provider in PACKAGES
    }
