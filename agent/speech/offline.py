"""Speech without a key: espeak-ng where it is installed, else one tone for each syllable.

Both stand behind LiveKit's own text-to-speech interface, and both give every voice a pitch of its
own, so that two personas can be told apart by ear.
"""

import asyncio
import contextlib
import re
import shutil
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from livekit.agents import APIConnectionError, APITimeoutError, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.agents.utils import shortuuid

log = structlog.get_logger(__name__)

TONE_RATE: Final = 24_000  # Hz, what the room is sent: nothing has to be resampled
ESPEAK_RATE: Final = 22_050  # Hz, what espeak-ng makes
ESPEAK_TIMEOUT_S: Final = 10.0
ESPEAK_VARIANTS: Final = ("m1", "m3", "m7", "f2", "f3", "f4")
_SYLLABLE_S: Final = 0.16
_GAP_S: Final = 0.06
_EDGE_S: Final = 0.012  # fades that keep a tone from clicking
_LOUDNESS: Final = 0.3
_READ_BYTES: Final = 4096
_MAX_HEADER_BYTES: Final = 4096
_VOWELS: Final = re.compile(r"[aeiouyäöüáéíóúàèùâêîôûæœ]+|[\u0904-\u0914\u093e-\u094c]")


@dataclass(frozen=True, slots=True)
class Voicing:
    """How one voice differs from the others; the same for the same voice, for ever."""

    pitch_hz: float  # of the tones
    variant: str  # of espeak-ng
    pitch: int  # of espeak-ng, 0 to 99

    @classmethod
    def of(cls, voice: str) -> "Voicing":
        """Derive it from whatever names the voice."""
        number = zlib.crc32(voice.encode("utf-8", "replace"))
        return cls(
            pitch_hz=140.0 + number % 9 * 25.0,
            variant=ESPEAK_VARIANTS[number // 9 % len(ESPEAK_VARIANTS)],
            pitch=35 + number // 64 % 5 * 8,
        )


def syllables(word: str) -> int:
    """Count the syllables of *word*, roughly; a word has at least one."""
    return max(1, len(_VOWELS.findall(word.lower())))


def tones(text: str, *, pitch_hz: float, sample_rate: int = TONE_RATE) -> list[bytes]:
    """Turn each word of *text* into PCM (16 bit, mono): one tone for each syllable, then a gap.

    The melody follows the letters, so that the same words always sound the same.
    """
    length = int(_SYLLABLE_S * sample_rate)
    edge = int(_EDGE_S * sample_rate)
    time = np.arange(length) / sample_rate
    envelope = np.ones(length)
    envelope[:edge] = np.linspace(0.0, 1.0, edge)
    envelope[-edge:] = np.linspace(1.0, 0.0, edge)
    gap = np.zeros(int(_GAP_S * sample_rate))
    spoken = []
    for word in text.split() or ["…"]:
        letters = zlib.crc32(word.lower().encode("utf-8", "replace"))
        parts = []
        for at in range(syllables(word)):
            hz = pitch_hz * 2.0 ** ((letters >> (3 * at % 27) & 7) / 12.0)
            wave = np.sin(2 * np.pi * hz * time) + 0.35 * np.sin(4 * np.pi * hz * time)
            parts.append(wave * envelope)
        pcm = np.concatenate([*parts, gap]) * (_LOUDNESS * 32767)
        spoken.append(pcm.astype("<i2").tobytes())
    return spoken


class OfflineTTS(tts.TTS[str], ABC):
    """What both ways to speak have in common."""

    def __init__(self, *, name: str, sample_rate: int, voice: str) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=sample_rate,
            num_channels=1,
        )
        self._name = name
        self.voicing = Voicing.of(voice)

    @property
    def model(self) -> str:
        """Name the model, as LiveKit's metrics show it."""
        return self._name

    @property
    def provider(self) -> str:
        """Name the provider, as LiveKit's metrics show it."""
        return "persona-router"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak *text*."""
        return _Speaking(self, text, conn_options)

    @abstractmethod
    def spoken(self, text: str) -> AsyncGenerator[bytes, None]:
        """Turn *text* into PCM (16 bit, mono), piece by piece."""


class _Speaking(tts.ChunkedStream):
    def __init__(self, source: OfflineTTS, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=source, input_text=text, conn_options=conn_options)
        self._source = source

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=shortuuid(),
            sample_rate=self._source.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
        )
        async with contextlib.aclosing(self._source.spoken(self.input_text)) as pieces:
            async for piece in pieces:
                output_emitter.push(piece)
        output_emitter.flush()


class ToneTTS(OfflineTTS):
    """Speaks in tones."""

    def __init__(self, *, voice: str) -> None:
        super().__init__(name="tones", sample_rate=TONE_RATE, voice=voice)

    async def spoken(self, text: str) -> AsyncGenerator[bytes, None]:
        """Give one piece for each word."""
        for word in tones(text, pitch_hz=self.voicing.pitch_hz):
            yield word


def find_espeak() -> str | None:
    """Find espeak-ng on PATH."""
    return shutil.which("espeak-ng")


class EspeakTTS(OfflineTTS):
    """Speaks with espeak-ng, one process for each utterance, beside the event loop."""

    def __init__(self, *, program: str, voice: str, espeak_language: str) -> None:
        super().__init__(name="espeak-ng", sample_rate=ESPEAK_RATE, voice=voice)
        self.command = (
            program,
            *("-v", f"{espeak_language}+{self.voicing.variant}"),
            *("-p", str(self.voicing.pitch)),
            *("--stdin", "--stdout"),
        )

    async def spoken(self, text: str) -> AsyncGenerator[bytes, None]:
        """Give what espeak-ng makes, as it makes it."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as exc:
            raise APIConnectionError("espeak-ng did not start", retryable=False) from exc
        try:
            async with asyncio.timeout(ESPEAK_TIMEOUT_S):
                async for piece in _samples(process, text):
                    yield piece
                if await process.wait() != 0:
                    raise APIConnectionError("espeak-ng failed", retryable=False)
        except TimeoutError:
            raise APITimeoutError("espeak-ng took too long", retryable=False) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


async def _samples(process: asyncio.subprocess.Process, text: str) -> AsyncGenerator[bytes, None]:
    if process.stdin is None or process.stdout is None:
        raise APIConnectionError("espeak-ng has no pipes", retryable=False)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(text.encode("utf-8", "replace"))
        await process.stdin.drain()
    process.stdin.close()
    wav = b""
    samples: bytes | None = None
    while chunk := await process.stdout.read(_READ_BYTES):
        if samples is None:
            wav += chunk
            samples = after_header(wav)
            chunk = samples or b""
        if chunk:
            yield chunk


def after_header(wav: bytes) -> bytes | None:
    """Give the samples that follow a WAV header; ``None``: the header is not complete yet.

    espeak-ng does not know how long it will speak, so the lengths in its header mean nothing.
    """
    at = wav.find(b"data")
    if at < 0 or len(wav) < at + 8:
        if len(wav) > _MAX_HEADER_BYTES:
            raise APIConnectionError("espeak-ng did not answer with WAV", retryable=False)
        return None
    return wav[at + 8 :]
