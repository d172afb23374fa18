"""The sound of a call at the caller's end: comfort noise out, a recording in."""

import random
import wave
from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path

FRAME_MS = 20
SPOKEN_HZ = 16_000
HEARD_HZ = 24_000
SPOKEN_FRAME = SPOKEN_HZ * FRAME_MS // 1000  # samples
MAX_RECORDING_S = 600
#: A sample beyond this is sound; decoded silence stays below it.
AUDIBLE = 300
_NOISE_PEAK = 20  # far below what anyone's voice detection takes for speech


@cache
def comfort_noise() -> tuple[bytes, ...]:
    """Return one second of noise, in frames of ``FRAME_MS``, 16-bit mono at ``SPOKEN_HZ``."""
    dice = random.Random(1)  # noqa: S311  # noise, not a secret; the same in every run
    return tuple(
        array("h", (dice.randint(-_NOISE_PEAK, _NOISE_PEAK) for _ in range(SPOKEN_FRAME))).tobytes()
        for _ in range(1000 // FRAME_MS)
    )


def is_audible(samples: Sequence[int]) -> bool:
    """Say whether a frame holds more than silence."""
    return max(samples) > AUDIBLE or min(samples) < -AUDIBLE


class Recording:
    """What was heard: 16-bit mono at ``HEARD_HZ``, at most ``MAX_RECORDING_S``."""

    def __init__(self) -> None:
        self._pcm = bytearray()

    def __len__(self) -> int:
        return len(self._pcm)

    @property
    def pcm(self) -> bytes:
        """The samples, little-endian."""
        return bytes(self._pcm)

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self._pcm) / (2 * HEARD_HZ)

    def add(self, frame: bytes | memoryview) -> None:
        """Append a frame, unless the recording is full."""
        if self.duration_s < MAX_RECORDING_S:
            self._pcm += frame

    def save(self, path: Path) -> None:
        """Write a WAV file."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(HEARD_HZ)
            file.writeframes(self._pcm)
