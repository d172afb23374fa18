"""Sound as samples: a WAV file read, a tone made. 16 bits, one channel, little-endian."""

import array
import math
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_S: Final = 30.0  # of a recording; what is longer is cut
TONE_HZ: Final = 425.0
TONE_RATE: Final = 8_000
TONE_S: Final = 4.0
_TONE_PEAK: Final = 6_000
_ON_OFF_S: Final = 0.5
_BYTES: Final = 2  # of a sample


class SoundUnusable(Exception):
    """The file is no WAV of 16-bit samples."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples of one channel."""

    rate: int  # samples a second
    pcm: bytes

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self.pcm) / _BYTES / self.rate


def read(path: Path) -> Sound:
    """Read a WAV file; of several channels the first is taken.

    Raises:
        SoundUnusable: it cannot be read, or is something else.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if width != _BYTES or not rate:
                raise SoundUnusable(f"{8 * width} bits a sample instead of 16")
            frames = file.readframes(int(MAX_S * rate))
    except (OSError, EOFError, wave.Error) as exc:
        raise SoundUnusable(type(exc).__name__) from exc
    if channels > 1:
        samples = array.array("h", frames[: len(frames) // (_BYTES * channels) * _BYTES * channels])
        frames = samples[::channels].tobytes()
    return Sound(rate, frames)


def tone() -> Sound:
    """Make what says "busy" in any language: half a second on, half a second off."""
    count = int(TONE_S * TONE_RATE)
    samples = (
        int(_TONE_PEAK * math.sin(math.tau * TONE_HZ * at / TONE_RATE))
        if (at / TONE_RATE) % (2 * _ON_OFF_S) < _ON_OFF_S
        else 0
        for at in range(count)
    )
    return Sound(TONE_RATE, array.array("h", samples).tobytes())
