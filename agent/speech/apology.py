"""What a caller hears when nobody is left to hear, think or speak: a recording, and then somebody.

The recordings ship with the agent (espeak-ng's voice, 8 kHz, as telephones have it), so that they
need no provider, no key and no network.
"""

import asyncio
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog
from livekit import rtc
from livekit.agents import AgentSession

from agent.speech.languages import DEFAULT_LANGUAGE

log = structlog.get_logger(__name__)

RECORDINGS: Final = Path(__file__).parent / "recordings"
PLAYOUT_TIMEOUT_S: Final = 15.0
FRAME_S: Final = 0.1
LINGER_S: Final = 0.6  # what is still on its way to the caller when we have played it


@dataclass(frozen=True, slots=True)
class Words:
    """What the recordings of one language say."""

    sorry: str
    transfer: str
    goodbye: str


WORDS: Final = MappingProxyType(
    {
        "en": Words(
            "I am sorry, we have a technical problem.",
            "Please hold the line.",
            "Please call again later. Goodbye.",
        ),
        "de": Words(
            "Es tut mir leid, wir haben ein technisches Problem.",
            "Bitte bleiben Sie am Apparat.",
            "Bitte rufen Sie später noch einmal an. Auf Wiederhören.",
        ),
        "es": Words(
            "Lo siento, tenemos un problema técnico.",
            "Por favor, no cuelgue.",
            "Por favor, llame más tarde. Adiós.",
        ),
        "fr": Words(
            "Je suis désolé, nous avons un problème technique.",
            "Ne quittez pas.",
            "Veuillez rappeler plus tard. Au revoir.",
        ),
        "hi": Words(
            "क्षमा कीजिए, हमें एक तकनीकी समस्या है।",
            "कृपया लाइन पर बने रहिए।",
            "कृपया बाद में फिर से फ़ोन कीजिए। नमस्ते।",
        ),
    }
)


def words(language: str, *, transfers: bool) -> str:
    """Say what :func:`frames` plays, for the transcript."""
    spoken = WORDS.get(language, WORDS[DEFAULT_LANGUAGE])
    return f"{spoken.sorry} {spoken.transfer if transfers else spoken.goodbye}"


async def frames(language: str, *, transfers: bool) -> AsyncIterator[rtc.AudioFrame]:
    """Play the apology in *language*, else in English, and what comes next."""
    code = language if language in WORDS else DEFAULT_LANGUAGE
    for name in (code, f"{code}-{'transfer' if transfers else 'goodbye'}"):
        for frame in await asyncio.to_thread(_read, RECORDINGS / f"{name}.wav"):
            yield frame
    rate = frame.sample_rate
    yield rtc.AudioFrame(bytes(2 * int(rate * LINGER_S)), rate, 1, int(rate * LINGER_S))


def _read(path: Path) -> list[rtc.AudioFrame]:
    with wave.open(str(path), "rb") as file:
        rate = file.getframerate()
        read = []
        while pcm := file.readframes(int(rate * FRAME_S)):
            read.append(rtc.AudioFrame(pcm, rate, 1, len(pcm) // 2))
    return read


async def apologise(session: AgentSession[Any], language: str, *, transfers: bool) -> None:
    """Tell the caller, whatever the state of *session*; returns when it has been heard."""
    try:
        async with asyncio.timeout(PLAYOUT_TIMEOUT_S):
            session.input.set_audio_enabled(False)  # there is nobody to listen
            await session.interrupt(force=True)
            handle = session.say(
                words(language, transfers=transfers),
                audio=frames(language, transfers=transfers),
                add_to_chat_ctx=False,  # a realtime model that has failed could not be told
            )
            await handle.wait_for_playout()
    except (TimeoutError, RuntimeError, OSError) as exc:
        log.error("apology.not_played", error=type(exc).__name__)
    else:
        log.info("apology.played", transfers=transfers)
