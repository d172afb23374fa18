"""Who hears, thinks and speaks, by persona and keys."""

from typing import Any

import pytest

from agent.job import Brief
from agent.providers import NEEDS
from agent.speech.plan import Choice, plan
from agent.speech.voices import is_voice
from personas.model import Voice
from personas.options import read_options
from personas.providers import Kind, provider_of


class Keys:
    """Keys of some providers."""

    def __init__(self, *providers: str) -> None:
        self.providers = providers

    def usable(self, kind: Kind) -> tuple[str, ...]:
        return tuple(name for name in NEEDS[kind] if name in self.providers)

    def missing_for(self, kind: Kind, provider: str) -> tuple[str, ...]:
        return () if provider in self.usable(kind) else (f"{provider.upper()}_KEY",)


EVERYBODY = Keys("azure", "azure_openai", "deepgram", "elevenlabs", "google", "openai")
ELEVEN = "pNInz6obpgDQGcFmaJgB"


def asks(document: dict[str, Any] | None = None, **brief: Any) -> Brief:
    options, problems = read_options(document or {})
    assert problems == ()
    return Brief(options=options, **brief)


def names(choices: tuple[Choice, ...]) -> list[str]:
    return [choice.provider for choice in choices]


def test_a_persona_that_asks_for_nothing_gets_the_table_in_its_order() -> None:
    made = plan(asks(), EVERYBODY)

    assert names(made.stt) == ["deepgram", "azure", "azure_openai", "openai"]
    assert names(made.llm) == ["azure_openai", "openai"]
    assert names(made.tts) == ["azure", "elevenlabs", "deepgram", "azure_openai", "openai"]
    assert made.problems == ()


def test_only_those_with_keys_are_used() -> None:
    made = plan(asks(), Keys("openai", "deepgram"))

    assert (names(made.stt), names(made.llm), names(made.tts)) == (
        ["deepgram", "openai"],
        ["openai"],
        ["deepgram", "openai"],
    )


def test_what_a_persona_asks_for_comes_first_and_the_others_stand_in() -> None:
    made = plan(asks({"stt": "Azure", "llm": "openai/gpt-x", "tts": "deepgram"}), EVERYBODY)

    assert names(made.stt)[0] == "azure"
    assert made.llm == (Choice("openai", "gpt-x"), Choice("azure_openai"))
    assert made.tts[0] == Choice("deepgram", voice="aura-2-thalia-en")
    assert sorted(names(made.tts)) == sorted(NEEDS["tts"])


def test_hindi_is_not_left_to_a_voice_that_does_not_speak_it() -> None:
    assert "deepgram" not in names(plan(asks(language="hi"), EVERYBODY).tts)

    asked = plan(asks({"tts": "deepgram"}, language="hi"), EVERYBODY)

    assert asked.problems == ("tts: deepgram does not speak hi: the house voice",)
    assert names(asked.tts)[0] == "azure"


@pytest.mark.parametrize(
    ("voice", "first"),
    [
        (Voice(id="de-DE-ConradNeural"), Choice("azure", voice="de-DE-ConradNeural")),
        (Voice(id="aura-2-luna-en"), Choice("deepgram", voice="aura-2-luna-en")),
        (Voice(id="coral"), Choice("openai", voice="coral")),
        (Voice(id=ELEVEN), Choice("elevenlabs", voice=ELEVEN)),
        (Voice(provider="ElevenLabs", id=ELEVEN), Choice("elevenlabs", voice=ELEVEN)),
        (Voice(provider="openai", id=" ash "), Choice("openai", voice="ash")),
    ],
)
def test_a_voice_says_who_speaks(voice: Voice, first: Choice) -> None:
    made = plan(asks(voice=voice), EVERYBODY)

    assert made.tts[0] == first
    assert made.problems == ()


@pytest.mark.parametrize(
    ("voice", "document", "keys", "problem"),
    [
        (
            Voice(id='x"/><evil>'),
            {},
            EVERYBODY,
            "voice: no provider has one of such a name: the house voice",
        ),
        (
            Voice(provider="azure", id='x"/><evil>'),
            {},
            EVERYBODY,
            "voice: azure has none of such a name: the house voice",
        ),
        (
            Voice(provider="hal", id="9000"),
            {},
            EVERYBODY,
            f"voice: unknown provider (known: {', '.join(NEEDS['tts'])}): the house voice",
        ),
        (
            Voice(provider="elevenlabs", id=ELEVEN),
            {},
            Keys("azure"),
            "voice: elevenlabs lacks ELEVENLABS_KEY: the house voice",
        ),
        (
            Voice(provider="elevenlabs", id=ELEVEN),
            {"tts": "azure"},
            EVERYBODY,
            "voice: of elevenlabs, but azure speaks: the house voice",
        ),
        (
            None,
            {"tts": "elevenlabs"},
            Keys("azure"),
            "tts: elevenlabs lacks ELEVENLABS_KEY: the house's choice",
        ),
    ],
)
def test_a_voice_that_cannot_be_had_is_a_problem_and_the_house_voice(
    voice: Voice | None, document: dict[str, Any], keys: Keys, problem: str
) -> None:
    made = plan(asks(document, voice=voice), keys)

    assert made.problems == (problem,)
    assert made.tts[0] == Choice("azure")


def test_no_problem_quotes_what_the_persona_wrote() -> None:
    made = plan(asks({"stt": "s3cret", "llm": "s3cret/x"}, voice=Voice(id="s3cret!")), EVERYBODY)

    assert len(made.problems) == 3
    assert "s3cret" not in repr(made.problems)


def test_speech_to_speech_takes_the_place_of_the_three() -> None:
    made = plan(
        asks({"speechToSpeech": "gemini/gemini-live"}, voice=Voice(id="Kore"), language="de-AT"),
        EVERYBODY,
    )

    assert made.speech_to_speech == Choice("google", "gemini-live", "Kore")
    assert (made.stt, made.llm, made.tts) == ((), (), ())
    assert made.language.code == "de"


@pytest.mark.parametrize(
    ("written", "name"),
    [("Azure-OpenAI", "azure_openai"), (" eleven labs", "elevenlabs"), ("gemini", "google")],
)
def test_providers_have_more_than_one_spelling(written: str, name: str) -> None:
    assert provider_of(written) == name


@pytest.mark.parametrize(
    ("provider", "voice", "fine"),
    [
        ("azure", "en-US-AvaMultilingualNeural", True),
        ("azure", "en-US-Ava:DragonHDLatestNeural", True),
        ("azure", "en-US-Ava", False),
        ("deepgram", "aura-2-luna-en", True),
        ("deepgram", "aura-2-luna-en&model=x", False),
        ("elevenlabs", ELEVEN, True),
        ("elevenlabs", "../voices", False),
        ("openai", "voice_Ab12cd34", True),
        ("nobody", "x", False),
    ],
)
def test_names_of_voices(provider: str, voice: str, fine: bool) -> None:
    assert is_voice(provider, voice) is fine
