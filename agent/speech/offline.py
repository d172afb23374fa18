"""Speech without a key: espeak-ng where it is installed, else one tone for each syllable.

Both stand behind LiveKit's own text-to-speech interface, and both give every voice a pitch of its
own, so that two personas can be told apart by ear.
"""

import asyncio
import contextlib
import re
import shutil
import zlib
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


class ToneTTS(tts.TTS[str]):
    """Speaks in tones."""

    def __init__(self, *, voice: str) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=TONE_RATE,
            num_channels=1,
        )
        self.voicing = Voicing.of(voice)

    @property
    def model(self) -> str:
        """Name the model, as LiveKit's metrics show it."""
        return "tones"

    @property
    def provider(self) -> str:
        """Name the provider, as LiveKit's metrics show it."""
        return "persona-router"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak *text*."""
        return _ToneStream(self, text, conn_options)


class _ToneStream(tts.ChunkedStream):
    def __init__(self, source: ToneTTS, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=source, input_text=text, conn_options=conn_options)
        self._pitch_hz = source.voicing.pitch_hz

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=shortuuid(),
            sample_rate=TONE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
        )
        for word in tones(self.input_text, pitch_hz=self._pitch_hz):
            output_emitter.push(word)
        output_emitter.flush()


def find_espeak() -> str | None:
    """Find espeak-ng on PATH."""
    return shutil.which("espeak-ng")


class EspeakTTS(tts.TTS[str]):
    """Speaks with espeak-ng, one process for each utterance, beside the event loop."""

    def __init__(self, *, program: str, voice: str, espeak_language: str) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=ESPEAK_RATE,
            num_channels=1,
        )
        self.voicing = Voicing.of(voice)
        self.command = (
            program,
            *("-v", f"{espeak_language}+{self.voicing.variant}"),
            *("-p", str(self.voicing.pitch)),
            *("--stdin", "--stdout"),
        )

    @property
    def model(self) -> str:
        """Name the model, as LiveKit's metrics show it."""
        return "espeak-ng"

    @property
    def provider(self) -> str:
        """Name the provider, as LiveKit's metrics show it."""
        return "persona-router"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak *text*."""
        return _EspeakStream(self, text, conn_options)


class _EspeakStream(tts.ChunkedStream):
    def __init__(self, source: EspeakTTS, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=source, input_text=text, conn_options=conn_options)
        self._command = source.command

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=shortuuid(),
            sample_rate=ESPEAK_RATE,
            num_channels=1,
            mime_type="audio/pcm",
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as exc:
            raise APIConnectionError("espeak-ng did not start", retryable=False) from exc
        try:
            async with asyncio.timeout(ESPEAK_TIMEOUT_S):
                await self._speak(process, output_emitter)
                if await process.wait() != 0:
                    raise APIConnectionError("espeak-ng failed", retryable=False)
        except TimeoutError:
            raise APITimeoutError("espeak-ng took too long", retryable=False) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        output_emitter.flush()

    async def _speak(
        self, process: asyncio.subprocess.Process, output_emitter: tts.AudioEmitter
    ) -> None:
        if process.stdin is None or process.stdout is None:
            raise APIConnectionError("espeak-ng has no pipes", retryable=False)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(self.input_text.encode("utf-8", "replace"))
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
                output_emitter.push(chunk)


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
