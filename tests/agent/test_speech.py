import asyncio
import importlib
import io
import os
import stat
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc
from livekit.agents import Agent, AgentSession, APIConnectionError, APIError, inference, llm
from livekit.agents.voice.run_result import RunResult

from agent import speech
from agent.job import Brief
from agent.providers import is_installed
from agent.settings import AgentSettings
from agent.speech.adapters.azure import as_xml
from agent.speech.languages import LANGUAGES, language_of
from agent.speech.offline import EspeakTTS, ToneTTS, Voicing, after_header, syllables, tones
from agent.speech.prepared import Prepared
from agent.speech.scripted import PHRASES, ScriptedLLM, reply_to
from personas.model import Voice

MIRA: dict[str, Any] = {
    "persona_name": "Mira",
    "personality": "You are Mira, the front desk of a harbour hotel. Warm.",
    "closing_message": "Fair winds!",
    "language": "en",
}


def agent_settings(**changes: Any) -> AgentSettings:
    return AgentSettings(
        livekit_url="ws://127.0.0.1:1",
        livekit_api_key="key",
        livekit_api_secret="a secret of no less than 32 bytes",
        **changes,
    )


KEYED: dict[str, Any] = {
    "deepgram_api_key": "d",
    "azure_speech_key": "s",
    "azure_speech_region": "westeurope",
    "azure_openai_api_key": "o",
    "azure_openai_endpoint": "https://llm.example",
    "azure_openai_deployment": "gpt",
    "speech": "providers",
}


def loudness(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    return float(np.sqrt(np.mean(samples**2)))


# ---- tones ----


def test_tones_can_be_heard_and_last_as_long_as_speech_does() -> None:
    pcm = b"".join(tones("Good day, this is Priya", pitch_hz=200.0))

    assert loudness(pcm) > 1000
    assert 1.0 < len(pcm) / 2 / 24_000 < 2.5


def test_the_same_words_always_sound_the_same_and_two_voices_do_not() -> None:
    first, second = Voicing.of("hi-IN-SwaraNeural"), Voicing.of("de-DE-KatjaNeural")

    assert tones("Hello", pitch_hz=first.pitch_hz) == tones("Hello", pitch_hz=first.pitch_hz)
    assert first != second


@given(st.text(max_size=20))
def test_any_text_makes_sound(text: str) -> None:
    assert loudness(b"".join(tones(text, pitch_hz=180.0))) > 500


def test_syllables() -> None:
    assert [syllables(word) for word in ("hello", "Versandhaus", "psst", "हिंदी")] == [2, 3, 1, 2]


async def test_the_tone_voice_speaks_through_livekits_interface() -> None:
    frame = await ToneTTS(voice="mira").synthesize("Good day").collect()

    assert frame.sample_rate == 24_000
    assert loudness(bytes(frame.data.cast("B"))) > 1000


# ---- espeak-ng ----


def fake_espeak(folder: Path, script: str) -> str:
    program = folder / "espeak-ng"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def wav(seconds: float = 0.5) -> bytes:
    hum = np.sin(np.arange(int(22_050 * seconds)) / 8) * 9000
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(hum.astype("<i2").tobytes())
    return written.getvalue()


def espeak(program: str) -> EspeakTTS:
    return EspeakTTS(program=program, voice="Mira", espeak_language="de")


async def test_espeak_is_given_text_language_and_voice(tmp_path: Path) -> None:
    (tmp_path / "hum.wav").write_bytes(wav())
    program = fake_espeak(
        tmp_path, f'echo "$@" > {tmp_path}/args; cat > {tmp_path}/text; cat {tmp_path}/hum.wav'
    )

    frame = await espeak(program).synthesize("--help; Grüß Gott").collect()

    assert loudness(bytes(frame.data.cast("B"))) > 1000
    assert frame.duration == pytest.approx(0.5, abs=0.05)
    assert (tmp_path / "text").read_text(encoding="utf-8") == "--help; Grüß Gott"
    assert (tmp_path / "args").read_text().startswith("-v de+")


@pytest.mark.parametrize("script", ["exit 1", "cat; exit 1", "head -c 9000 /dev/zero"])
async def test_an_espeak_that_fails_is_an_error_of_the_voice(tmp_path: Path, script: str) -> None:
    program = fake_espeak(tmp_path, script)

    with pytest.raises(APIError):
        await espeak(program).synthesize("Hello").collect()


async def test_an_espeak_that_is_gone_is_an_error_of_the_voice(tmp_path: Path) -> None:
    with pytest.raises(APIConnectionError):
        await espeak(str(tmp_path / "none")).synthesize("Hello").collect()


def test_the_samples_follow_the_header() -> None:
    assert after_header(b"RIFF") is None
    assert after_header(b"RIFF....WAVEdata\xff\xff\xff\x7f\x01\x02") == b"\x01\x02"


# ---- the scripted model ----


def said(heard: str, **changes: Any) -> str:
    known = {key: value for key, value in MIRA.items() if key != "language"}
    return reply_to(heard, **{**known, "language": "en", **changes})


@pytest.mark.parametrize(
    ("heard", "language", "answer"),
    [
        ("", "en", "Hello, this is Mira."),
        ("Who are you?", "en", "I am Mira, the front desk of a harbour hotel."),
        ("A room, please", "en", "Mira here. I heard: A room, please"),
        ("OK, bye!", "en", "Fair winds!"),
        ("Tschüss", "de", "Fair winds!"),
        ("Adiós", "es", "Fair winds!"),
        ("Au revoir", "fr", "Fair winds!"),
        ("अलविदा", "hi", "Fair winds!"),
        ("Bytes are not a goodbye-word", "xx", "Fair winds!"),
    ],
)
def test_the_script(heard: str, language: str, answer: str) -> None:
    assert said(heard, language=language) == answer


def test_a_persona_without_name_or_closing_is_polite_all_the_same() -> None:
    assert said("bye", closing_message=None) == "Goodbye!"
    assert said("Wer sind Sie?", persona_name=None, language="de") == (
        "Guten Tag, hier ist Ihr Assistent."
    )


def test_every_language_has_its_script() -> None:
    assert set(PHRASES) == set(LANGUAGES)


async def test_a_conversation_without_a_room() -> None:
    model = ScriptedLLM(**MIRA)

    async with AgentSession[None](llm=model, vad=None) as session:
        await session.start(Agent(instructions="You are Mira."))
        result: RunResult[None] = await session.run(user_input="Who are you?")
        goodbye: RunResult[None] = await session.run(user_input="Goodbye")

    first = result.expect.next_event().is_message(role="assistant").event().item
    last = goodbye.expect.next_event().is_message(role="assistant").event().item
    assert first.text_content == "I am Mira, the front desk of a harbour hotel."
    assert last.text_content == "Fair winds!"


# ---- the choice ----


async def test_offline_without_espeak_speaks_in_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    parts = speech.choose(agent_settings(speech="offline"), Brief(**MIRA))

    assert isinstance(parts.mouth, ToneTTS)
    assert not parts.hears_audio
    assert parts.problems == ()


async def test_offline_with_espeak_speaks_the_language(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_espeak(tmp_path, "cat")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    parts = speech.choose(agent_settings(speech="offline"), Brief(**{**MIRA, "language": "de-AT"}))

    assert isinstance(parts.mouth, EspeakTTS)
    assert parts.mouth.command[2].startswith("de+")


async def test_an_unknown_language_is_a_problem_and_english() -> None:
    parts = speech.choose(agent_settings(speech="offline"), Brief(**{**MIRA, "language": "xx"}))

    assert parts.language.code == "en"
    assert parts.problems == ("unknown language: English",)


async def test_the_providers_are_built_from_settings_and_persona() -> None:
    brief = Brief(**{**MIRA, "voice": Voice(id="de-AT-IngridNeural"), "language": "de"})

    parts = speech.choose(agent_settings(**KEYED), brief)

    assert parts.hears_audio
    assert parts.vad is not None
    assert parts.mouth is not None
    assert parts.mouth.model == "westeurope:de-AT-IngridNeural"
    assert isinstance(parts.mind, llm.LLM)
    assert parts.mind.model == "gpt"
    assert parts.turn_detection == "vad"
    assert parts.problems == ()
    await parts.aclose()


async def test_who_has_finished_speaking_can_be_left_to_livekits_model() -> None:
    parts = speech.choose(agent_settings(**KEYED, turn_detection="model"), Brief(**MIRA))

    assert isinstance(parts.turn_detection, inference.TurnDetector)
    assert parts.turn_detection.model == "turn-detector-v1-mini"
    await parts.aclose()


async def test_noise_is_not_cancelled_without_the_package_for_it() -> None:
    settings = agent_settings(**KEYED, noise_cancellation=True)
    assert not is_installed(speech.NOISE_CANCELLATION)

    parts = speech.choose(settings, Brief(**MIRA))

    assert parts.noise_cancellation is None
    await parts.aclose()


async def test_a_language_that_nobody_speaks_gets_the_offline_voice() -> None:
    keys = {"deepgram_api_key": "d", "openai_api_key": ""}
    azure = {name: KEYED[name] for name in KEYED if name.startswith("azure_openai")}

    parts = speech.choose(
        agent_settings(**keys, **azure, speech="providers"), Brief(**{**MIRA, "language": "hi"})
    )

    assert isinstance(parts.mouth, EspeakTTS | ToneTTS)
    assert parts.problems == ("tts: nobody who can be used speaks hi: the offline voice",)
    await parts.aclose()


def test_what_a_call_needs_is_imported_before_it() -> None:
    offline = speech.modules(agent_settings(speech="offline"))
    provided = speech.modules(agent_settings(**KEYED))

    assert set(provided) - set(offline) > {
        f"agent.speech.adapters.{name}" for name in ("deepgram", "azure", "azure_openai")
    }
    assert "openai.resources.chat.chat" in provided
    assert len(set(provided)) == len(provided)
    for module in provided:
        importlib.import_module(module)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("AT&T <now>", "AT&amp;T &lt;now&gt;"),
        ("a\x00b\x0bc\ufffed", "abcd"),
        ("line\nbreak\ttab", "line\nbreak\ttab"),
    ],
)
def test_what_azure_speaks_is_well_formed(text: str, written: str) -> None:
    assert as_xml(text) == written


def test_languages_are_found_by_their_tags() -> None:
    found = [language_of(tag) for tag in ("de", "de-AT", "HI_in", "", None)]

    assert [language.code if language else None for language in found] == [
        *("de", "de", "hi", "en", "en"),
    ]
    assert language_of("tlh") is None


# ---- an utterance made ahead ----


async def test_a_prepared_utterance_gives_all_its_audio() -> None:
    voice = ToneTTS(voice="mira")
    whole = await voice.synthesize("Good day to you").collect()
    parts = speech.Speech(
        language=LANGUAGES["en"], mind=ScriptedLLM(**MIRA), mouth=voice, problems=()
    )

    prepared = Prepared("Good day to you", parts.frames("Good day to you"))
    assert await prepared.sounds(5.0)
    frames = [frame async for frame in prepared.frames()]
    await prepared.aclose()

    assert rtc.combine_audio_frames(frames).duration == pytest.approx(whole.duration, abs=0.01)


async def test_a_voice_that_fails_makes_no_sound_and_no_error(tmp_path: Path) -> None:
    voice = espeak(fake_espeak(tmp_path, "exit 1"))
    parts = speech.Speech(language=LANGUAGES["en"], mind=ScriptedLLM(**MIRA), mouth=voice)

    prepared = Prepared("Hello", parts.frames("Hello"))

    assert not await prepared.sounds(5.0)
    assert [frame async for frame in prepared.frames()] == []
    await prepared.aclose()


async def test_a_voice_that_hangs_is_not_waited_for() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()
        yield None

    prepared = Prepared("Hello", never())

    assert not await prepared.sounds(0.01)
    await prepared.aclose()
