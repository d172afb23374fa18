"""Recordings: read, chosen, shipped; and the tone where none can be had."""

import array
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from router.demo.sound import is_audible
from router.lastresort.recordings import GOODBYE, SHIPPED, Recordings, choose
from router.lastresort.sound import MAX_S, SoundUnusable, read, tone
from tests.absent import absent
from tests.house_recordings import TEXTS


def write(
    path: Path, *, channels: int = 1, width: int = 2, rate: int = 8_000, s: float = 1
) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        frame = b"".join(bytes([channel + 1] * width) for channel in range(channels))
        file.writeframes(frame * int(rate * s))
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.wav")), ids=lambda path: path.stem)
def test_every_recording_that_ships_is_a_few_seconds_of_sound(path: Path) -> None:
    sound = read(path)

    assert sound.rate == 8_000
    assert 1.0 < sound.duration_s < 6.0
    assert is_audible(array.array("h", sound.pcm))


def test_each_language_ships_a_recording_and_a_goodbye() -> None:
    shipped = {path.stem for path in SHIPPED.glob("*.wav")}

    assert shipped == {*TEXTS, *(f"{language}{GOODBYE}" for language in TEXTS)}


def test_the_recordings_can_be_made_again(tmp_path: Path) -> None:
    if shutil.which("espeak-ng") is None:
        absent("espeak-ng", "`make test` installs it")
    command = [sys.executable, "-m", "tests.house_recordings", str(tmp_path)]

    subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[3])

    for path in SHIPPED.glob("*.wav"):
        assert read(tmp_path / path.name).duration_s == pytest.approx(
            read(path).duration_s, rel=0.3
        )


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("de_AT", "de"),
        ("DE", "de"),
        ("fr-CA", "fr"),
        (None, "en"),
        ("", "en"),
        ("xx", "en"),
        ("../../../etc/passwd", "en"),
    ],
)
def test_a_language_finds_its_recording(language: str | None, expected: str) -> None:
    found = choose(language, None)

    assert found == Recordings(SHIPPED / f"{expected}.wav", SHIPPED / f"{expected}{GOODBYE}.wav")


def test_a_folder_of_ones_own_comes_first_and_is_not_mixed_with_what_ships(tmp_path: Path) -> None:
    own = write(tmp_path / "de-AT.wav")
    goodbye = write(tmp_path / "fr-goodbye.wav")
    french = write(tmp_path / "fr.wav")

    assert choose("de-AT", tmp_path) == Recordings(own, None)
    assert choose("fr", tmp_path) == Recordings(french, goodbye)
    assert choose("es", tmp_path).sorry == SHIPPED / "es.wav"


def test_of_several_channels_the_first_is_heard(tmp_path: Path) -> None:
    sound = read(write(tmp_path / "two.wav", channels=2, s=0.5))

    assert sound.duration_s == 0.5
    assert set(sound.pcm) == {1}


def test_a_recording_that_is_too_long_is_cut(tmp_path: Path) -> None:
    assert read(write(tmp_path / "long.wav", s=MAX_S + 5)).duration_s == MAX_S


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "eight_bits"])
def test_what_is_no_recording_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "one.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("RIFF, or so")
    elif kind == "empty":
        path.touch()
    elif kind == "eight_bits":
        write(path, width=1)

    with pytest.raises(SoundUnusable):
        read(path)


def test_the_tone_is_on_and_off() -> None:
    made = tone()
    samples = array.array("h", made.pcm)
    halves = [samples[at : at + made.rate // 2] for at in range(0, len(samples), made.rate // 2)]

    assert [is_audible(half) for half in halves] == [True, False] * 4
