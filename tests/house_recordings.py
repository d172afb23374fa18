"""Make the recordings that ship in router/lastresort/wav: 8 kHz, 16 bits, mono.

``python -m tests.house_recordings [FOLDER]`` needs espeak-ng.
"""

import array
import math
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

from router.lastresort.recordings import GOODBYE, SHIPPED

RATE = 8_000
WORDS_A_MINUTE = 160
CUTOFF = 0.45  # of RATE
HALF_WIDTH = 24  # samples of the source on either side that make one of ours
TEXTS = {
    "en": ("All our lines are busy right now.", "Please call again later. Goodbye."),
    "de": ("Alle Leitungen sind gerade besetzt.", "Bitte rufen Sie später an. Auf Wiederhören."),
    "es": ("Todas nuestras líneas están ocupadas.", "Llame más tarde, por favor. Adiós."),
    "fr": ("Toutes nos lignes sont occupées.", "Merci de rappeler plus tard. Au revoir."),
    "hi": ("हमारी सभी लाइनें अभी व्यस्त हैं।", "कृपया बाद में फिर कॉल करें। नमस्ते।"),
}


def spoken(text: str, language: str) -> tuple[int, list[int]]:
    """Return rate and samples of *text*."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        command = ["espeak-ng", "-v", language, "-s", str(WORDS_A_MINUTE), "-w", str(path), text]
        subprocess.run(command, check=True, timeout=60)
        with wave.open(str(path), "rb") as file:
            samples = array.array("h", file.readframes(file.getnframes()))
            return file.getframerate(), list(samples)


def resampled(samples: list[int], rate: int) -> list[int]:
    """Bring *samples* to ``RATE`` through a windowed sinc."""
    step, cutoff = rate / RATE, 2 * CUTOFF * RATE / rate
    made: list[int] = []
    for index in range(int(len(samples) / step)):
        at = index * step
        first = max(0, math.ceil(at - HALF_WIDTH))
        value = 0.0
        for source in range(first, min(len(samples), math.floor(at + HALF_WIDTH) + 1)):
            distance = at - source
            window = 0.5 + 0.5 * math.cos(math.pi * distance / HALF_WIDTH)
            angle = math.pi * cutoff * distance
            value += samples[source] * window * cutoff * (math.sin(angle) / angle if angle else 1.0)
        made.append(max(-32_768, min(32_767, round(value))))
    return made


def main() -> None:
    """Write two files for each language into the folder that is named, or where they ship."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    folder.mkdir(parents=True, exist_ok=True)
    for language, texts in TEXTS.items():
        for text, part in zip(texts, ("", GOODBYE), strict=True):
            rate, samples = spoken(text, language)
            with wave.open(str(folder / f"{language}{part}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(array.array("h", resampled(samples, rate)).tobytes())


if __name__ == "__main__":
    main()
