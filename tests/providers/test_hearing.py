"""Each pair of ears over its provider's own protocol, well and ill, and who hears instead."""

import asyncio

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, stt

from agent import speech
from agent.job import Brief
from personas.options import PersonaOptions
from tests.providers.conftest import Services
from tests.providers.service import Fault, hum

HEARERS = ("deepgram", "azure", "azure_openai", "openai")
RATE = 16_000
FRAME_S = 0.05
TIMEOUT_S = 20.0


def brief(provider: str, language: str = "en") -> Brief:
    return Brief(language=language, options=PersonaOptions.model_validate({"stt": provider}))


async def talk(stream: stt.RecognizeStream, *, sentences: int) -> None:
    """Say *sentences*, in real time, with pauses; then go on breathing."""
    spoken = (hum(0.8, hz=300, rate=RATE) + bytes(int(0.8 * RATE) * 2)) * sentences
    size = int(FRAME_S * RATE)
    for at in range(0, len(spoken), size * 2):
        pcm = spoken[at : at + size * 2]
        stream.push_frame(rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2))
        await asyncio.sleep(FRAME_S)  # a microphone gives no more
    while True:
        stream.push_frame(rtc.AudioFrame(bytes(size * 2), RATE, 1, size))
        await asyncio.sleep(FRAME_S)


async def heard(parts: speech.Speech, *, sentences: int = 1) -> tuple[str, list[str]]:
    """Talk until something is understood: (text, kinds of all events before)."""
    assert parts.ears is not None
    kinds = []
    async with parts.ears.stream(conn_options=parts.connect.stt_conn_options) as stream:
        talking = asyncio.create_task(talk(stream, sentences=sentences))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async for event in stream:
                    kinds.append(event.type.value)
                    if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                        return event.alternatives[0].text, kinds
        finally:
            talking.cancel()
            await asyncio.wait({talking})
    return "", kinds


@pytest.fixture
def distinct(services: Services) -> Services:
    """Each provider understands the sentence in words of its own."""
    for provider in HEARERS:
        services.of(provider).text = f"heard by {provider}"
    return services


@pytest.mark.parametrize("provider", ["deepgram", "azure"])
async def test_what_is_said_is_understood(distinct: Services, provider: str) -> None:
    parts = distinct.choose(brief(provider, "de"))

    text, kinds = await heard(parts)

    assert text == f"heard by {provider}"
    assert "interim_transcript" in kinds
    asked = distinct.of(provider).requests[0]
    assert asked.query["language"] == {"deepgram": "de", "azure": "de-DE"}[provider]


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.TOO_MANY, Fault.SILENT, Fault.CUT])
@pytest.mark.parametrize(("provider", "other"), [("deepgram", "azure"), ("azure", "deepgram")])
async def test_the_next_ears_hear_when_some_fail(
    distinct: Services, provider: str, other: str, fault: Fault
) -> None:
    distinct.of(provider).fault = fault
    parts = distinct.choose(brief(provider))

    text, _ = await heard(parts, sentences=8)

    assert text == f"heard by {other}"


NO_STREAMS = {"deepgram_api_key": None, "azure_speech_key": None}


async def understood(parts: speech.Speech) -> str:
    """Have one sentence understood by those that take one at a time."""
    assert parts.ears is not None
    spoken = hum(0.8, hz=300, rate=RATE)
    event = await parts.ears.recognize(rtc.AudioFrame(spoken, RATE, 1, len(spoken) // 2))
    return event.alternatives[0].text


@pytest.mark.parametrize("provider", ["azure_openai", "openai"])
async def test_a_sentence_is_understood(distinct: Services, provider: str) -> None:
    parts = distinct.choose(brief(provider, "fr"), **NO_STREAMS)

    text = await understood(parts)

    assert text == f"heard by {provider}"
    asked = distinct.of(provider).requests[0]
    assert asked.body["language"] == "fr"
    model = {"azure_openai": "hears", "openai": "gpt-4o-mini-transcribe"}[provider]
    assert asked.body["model"] == model


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize(
    ("provider", "other"), [("azure_openai", "openai"), ("openai", "azure_openai")]
)
async def test_the_next_understands_a_sentence_when_one_fails(
    distinct: Services, provider: str, other: str, fault: Fault
) -> None:
    distinct.of(provider).fault = fault
    parts = distinct.choose(brief(provider), **NO_STREAMS)

    assert await understood(parts) == f"heard by {other}"


async def test_when_nobody_hears_the_error_says_so(distinct: Services) -> None:
    for provider in HEARERS:
        distinct.of(provider).fault = Fault.UNAUTHORIZED
    parts = distinct.choose(brief("deepgram"), **NO_STREAMS)

    with pytest.raises(APIConnectionError, match="all STTs failed"):
        await understood(parts)
