"""The phone before it dials; tests/e2e has its calls."""

import sys
import wave
from pathlib import Path

import pytest

from router.demo.errors import CallFailed, SetupFailed
from router.demo.phone import Phone
from router.demo.sound import HEARD_HZ, Recording, comfort_noise, is_audible

SERVER = ("ws://127.0.0.1:1", "key", "made-up-secret-of-more-than-32-bytes")


async def test_without_livekits_client_it_says_which_extra_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    monkeypatch.delattr("livekit.rtc", raising=False)

    with pytest.raises(SetupFailed, match="extra `agent`"):
        await Phone(*SERVER, dialed="+13125550101").dial()


def test_two_calls_of_one_caller_are_in_two_rooms() -> None:
    first, second = (Phone(*SERVER, dialed="+13125550101", caller="+13125550123") for _ in "12")

    assert first.room.startswith("call-_+13125550123_")
    assert first.room != second.room
    assert first.attributes["sip.callID"] != second.attributes["sip.callID"]


def test_a_hidden_number_is_nowhere() -> None:
    caller = Phone(*SERVER, dialed="+13125550101", caller="+13125550123", hidden=True)

    shown = f"{caller.room} {caller.identity} {caller.name} {caller.attributes}"
    assert "1312555" not in shown


async def test_before_the_call_there_is_nobody_to_talk_to() -> None:
    caller = Phone(*SERVER)

    with pytest.raises(CallFailed, match="there is no call"):
        await caller.say("Hello?")
    assert caller.agents_present == ()


def test_comfort_noise_is_not_heard_as_sound() -> None:
    frames = comfort_noise()

    assert len(frames) == 50
    assert not any(is_audible(memoryview(frame).cast("h")) for frame in frames)


def test_a_recording_is_a_wav_file(tmp_path: Path) -> None:
    recording = Recording()
    recording.add(bytes(2 * HEARD_HZ))

    recording.save(tmp_path / "call.wav")

    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (HEARD_HZ, 1, 2)
        assert file.getnframes() / HEARD_HZ == recording.duration_s == 1.0
