"""Each voice over its provider's own protocol, well and ill, and who speaks instead."""

import pytest
from livekit import rtc
from livekit.agents import APIError, tts

from agent import speech
from agent.job import Brief
from personas.model import Voice
from personas.options import PersonaOptions
from tests.providers.conftest import Services
from tests.providers.service import Fault, pitch_of

WELCOME = "Harbour hotel, Mira speaking. How can I help you today?"
SPEAKERS = ("azure", "elevenlabs", "deepgram", "azure_openai", "openai")
VOICES = {
    "azure": "en-US-AvaMultilingualNeural",
    "elevenlabs": "pNInz6obpgDQGcFmaJgB",
    "deepgram": "aura-2-luna-en",
    "azure_openai": "coral",
    "openai": "coral",
}
#: Who speaks when the first cannot: the first of the table.
NEXT = {"azure": "elevenlabs"}


def brief(provider: str) -> Brief:
    voice = Voice(provider=provider, id=VOICES[provider])
    return Brief(persona_name="Mira", language="en", voice=voice)


def pcm(frames: list[rtc.AudioFrame]) -> bytes:
    return b"".join(bytes(frame.data.cast("B")) for frame in frames)


async def whole(parts: speech.Speech, text: str) -> tuple[float, float]:
    """Speak it as the greeting is spoken: (seconds, Hz)."""
    frames = [frame async for frame in parts.frames(text)]
    return sum(frame.duration for frame in frames), pitch_of(pcm(frames))


async def streamed(parts: speech.Speech, text: str) -> tuple[float, float]:
    """Speak it as answers are spoken, word by word: (seconds, Hz)."""
    assert parts.mouth is not None
    frames = []
    async with parts.mouth.stream(conn_options=parts.connect.tts_conn_options) as stream:
        for word in text.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        frames = [event.frame async for event in stream]
    return sum(frame.duration for frame in frames), pitch_of(pcm(frames))


WAYS = {"whole": whole, "streamed": streamed}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", SPEAKERS)
async def test_a_persona_speaks_with_its_own_voice(
    services: Services, provider: str, way: str
) -> None:
    parts = services.choose(brief(provider))

    seconds, hz = await WAYS[way](parts, WELCOME)

    assert parts.problems == ()
    assert seconds > 0.4
    assert hz == pytest.approx(services.of(provider).hz, abs=8)
    asked = services.of(provider).requests[-1]
    sent = repr((asked.path, asked.query, asked.body))
    assert VOICES[provider] in sent


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.TOO_MANY, Fault.SILENT])
@pytest.mark.parametrize("provider", SPEAKERS)
async def test_the_next_voice_speaks_when_one_fails(
    services: Services, provider: str, fault: Fault, way: str
) -> None:
    services.of(provider).fault = fault
    parts = services.choose(brief(provider))

    seconds, hz = await WAYS[way](parts, WELCOME)

    assert seconds > 0.4
    assert hz == pytest.approx(services.of(NEXT.get(provider, "azure")).hz, abs=8)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", SPEAKERS)
async def test_a_voice_that_is_cut_off_ends_there_and_nobody_begins_anew(
    services: Services, provider: str, way: str
) -> None:
    services.of(provider).fault = Fault.CUT
    parts = services.choose(brief(provider))

    seconds, hz = await WAYS[way](parts, WELCOME)

    assert 0.1 < seconds < 1.0
    assert hz == pytest.approx(services.of(provider).hz, abs=8)


@pytest.mark.parametrize("way", WAYS)
async def test_when_every_voice_fails_the_error_says_so(services: Services, way: str) -> None:
    for provider in SPEAKERS:
        services.of(provider).fault = Fault.UNAUTHORIZED
    parts = services.choose(brief("azure"))
    errors: list[tts.TTSError] = []
    assert parts.mouth is not None
    parts.mouth.on("error", errors.append)

    with pytest.raises(APIError, match="all TTSs failed"):
        await WAYS[way](parts, WELCOME)

    assert [error.recoverable for error in errors] == [False]


@pytest.mark.parametrize("way", WAYS)
async def test_only_azure_is_given_xml(services: Services, way: str) -> None:
    parts = services.choose(brief("azure"))
    awkward = "Smith & Sons <now> open; \x0bring AT&T."

    await WAYS[way](parts, awkward)
    services.azure.fault = Fault.UNAUTHORIZED
    await WAYS[way](parts, awkward)

    spoken = " ".join(text for asked in services.azure.requests for _, text in asked.sent)
    assert "Smith & Sons <now> open" in spoken
    assert "AT&T" in spoken
    elevenlabs = repr([(asked.body, asked.sent) for asked in services.elevenlabs.requests])
    assert "Smith & Sons <now> open" in elevenlabs
    assert "&amp;" not in elevenlabs


@pytest.mark.parametrize("language", ["de", "en", "es", "fr", "hi"])
async def test_every_language_has_its_voice(services: Services, language: str) -> None:
    parts = services.choose(Brief(language=language))

    await whole(parts, "Moin")

    voice, text = services.azure.requests[-1].sent[0]
    assert voice.startswith(f"{language}-")
    assert text == "Moin"


async def test_a_persona_names_provider_and_model(services: Services) -> None:
    options = PersonaOptions.model_validate({"tts": "openai/tts-1", "llm": "azure"})
    parts = services.choose(Brief(options=options))

    await whole(parts, WELCOME)

    assert services.openai.requests[-1].body["model"] == "tts-1"
    assert services.openai.requests[-1].body["voice"] == "ash"
    assert parts.problems == (
        "llm: unknown provider (known: azure_openai, openai): the house's choice",
    )
