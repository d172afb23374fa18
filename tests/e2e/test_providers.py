"""Whole calls whose providers are loopback services: what the caller hears, well and ill."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import rtc

from agent.speech.apology import WORDS
from agent.speech.offline import after_header
from router.demo.sound import HEARD_HZ, SPOKEN_HZ
from tests.absent import absent
from tests.e2e.bed import Bed, open_bed
from tests.e2e.evidence import open_evidence, until
from tests.e2e.test_records import record_of
from tests.providers.conftest import Services
from tests.providers.service import Fault, pitch_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIALED = "+13125550171"
DESK = "+13125550109"
VOICE = "en-GB-SoniaNeural"
WELCOME = "Harbour hotel & spa, Mira speaking."
PERSONA = {
    "persona_name": "Mira",
    "personality": "You are Mira, the front desk of a harbour hotel.",
    "welcome_message": WELCOME,
    "language": "en",
    "voice": {"provider": "azure", "id": VOICE},
    "llm": "openai/gpt-front-desk",
    "transfer_targets": [{"name": "front desk", "number": DESK}],
}
DIALED_BOTH = "+13125550172"
PERSONA_BOTH = {
    "persona_name": "Ben",
    "personality": "You are Ben, the night porter of a harbour hotel.",
    "welcome_message": "Harbour hotel, Ben speaking.",
    "voice": "cedar",
    "speech_to_speech": "openai",
}
ANSWER_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services() -> AsyncIterator[Services]:
    made = Services()
    async with AsyncExitStack() as stack:
        for service in made.all():
            await stack.enter_async_context(service)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(logs: Path, livekit_program: Path, services: Services) -> AsyncIterator[Bed]:
    async with open_bed(
        logs / "providers",
        livekit_program,
        personas={
            DIALED.removeprefix("+"): PERSONA,
            DIALED_BOTH.removeprefix("+"): PERSONA_BOTH,
        },
        agent_settings=services.environment(SPEECH_TIMEOUT_S="3", AGENT_IDLE_PROCESSES="1"),
        with_sip=True,
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _well(bed: Bed, services: Services) -> None:
    assert bed.sip is not None
    bed.sip.transfers_succeed = True
    bed.sip.transfers.clear()
    for service in services.all():
        service.fault = None
        service.requests.clear()


def loud_part(pcm: bytes) -> bytes:
    """The part of a recording that is no silence."""
    size = HEARD_HZ // 50 * 2
    pieces = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    return b"".join(piece for piece in pieces if max(memoryview(piece).cast("h")) > 2000)


def question() -> bytes:
    """Somebody asking something, as the phone sends it."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        absent("espeak-ng", "`make test` installs it")
    spoken = subprocess.run(
        [espeak, "--stdout", "I would like a room with a view, please."],
        check=True,
        capture_output=True,
        timeout=20,
    ).stdout
    pcm = after_header(spoken) or b""
    resampler = rtc.AudioResampler(22_050, SPOKEN_HZ)
    frames = resampler.push(rtc.AudioFrame(pcm[: len(pcm) // 2 * 2], 22_050, 1, len(pcm) // 2))
    return b"".join(bytes(one.data.cast("B")) for one in (*frames, *resampler.flush()))


async def test_a_caller_is_heard_answered_and_spoken_to_in_the_personas_voice(
    bed: Bed, services: Services
) -> None:
    async with bed.phone(DIALED) as caller:
        await caller.wait_for_answer(timeout_s=ANSWER_S)
        await caller.wait_for_words(timeout_s=ANSWER_S, containing="Mira speaking")
        greeting = pitch_of(loud_part(caller.recording.pcm), rate=HEARD_HZ)
        caller.speak(question())
        await caller.wait_for_words(timeout_s=ANSWER_S, count=2, containing="view of the harbour")

    assert greeting == pytest.approx(services.azure.hz, abs=12)
    spoken = [one for asked in services.azure.requests for one in asked.sent if len(one) == 2]
    assert {voice for voice, _ in spoken} == {VOICE}
    assert spoken[0][1] == WELCOME
    assert services.deepgram.requests[0].query["language"] == "en-US"
    asked = services.openai.requests[-1].body
    assert asked["model"] == "gpt-front-desk"
    assert asked["messages"][-1] == {"role": "user", "content": services.deepgram.text}
    log = bed.agent.log_path.read_text(encoding="utf-8")
    blocked = [line for line in log.splitlines() if "event loop blocked" in line]
    assert not any("importing" in line or "ssl.py" in line for line in blocked)


async def test_another_voice_greets_when_the_personas_own_is_refused(
    bed: Bed, services: Services
) -> None:
    services.azure.fault = Fault.UNAUTHORIZED

    async with bed.phone(DIALED) as caller:
        await caller.wait_for_words(timeout_s=ANSWER_S, containing="Mira speaking")
        heard = pitch_of(loud_part(caller.recording.pcm), rate=HEARD_HZ)

    assert heard == pytest.approx(services.elevenlabs.hz, abs=15)
    assert services.elevenlabs.requests[0].body["text"] == WELCOME


def silence(services: Services) -> None:
    for provider in ("azure", "elevenlabs", "deepgram", "azure_openai", "openai"):
        services.of(provider).fault = Fault.UNAUTHORIZED


async def test_when_no_voice_is_left_the_caller_hears_an_apology_and_is_put_through(
    bed: Bed, services: Services
) -> None:
    sip = bed.sip
    assert sip is not None
    silence(services)

    async with open_evidence(bed) as evidence, bed.phone(DIALED) as caller:
        [asked] = await until(lambda: sip.transfers, timeout_s=ANSWER_S, what="transfer")
        sound = loud_part(caller.recording.pcm)
        await caller.hang_up()  # as the gateway does when the other end has taken the call
        [dispatched] = evidence.router_events("call.dispatched")
        shown = await record_of(evidence, dispatched["call_id"])

    assert (asked.transfer_to, asked.participant_identity) == (f"tel:{DESK}", caller.identity)
    assert len(sound) / 2 / HEARD_HZ > 2.0
    said = [turn["text"] for turn in shown["transcript"] if turn["by"] == "agent"]
    assert said == [f"{WORDS['en'].sorry} {WORDS['en'].transfer}"]
    assert shown["call"]["disposition"] == "transferred"


async def test_when_nobody_can_be_reached_either_the_call_ends_with_a_goodbye(
    bed: Bed, services: Services
) -> None:
    assert bed.sip is not None
    silence(services)
    bed.sip.transfers_succeed = False

    async with bed.phone(DIALED) as caller:
        await caller.wait_for_answer(timeout_s=ANSWER_S)
        await caller.wait_for_end(timeout_s=ANSWER_S)
        sound = loud_part(caller.recording.pcm)

    assert len(sound) / 2 / HEARD_HZ > 3.0
    said = " ".join(one.text for one in caller.utterances)
    assert f"{WORDS['en'].sorry} {WORDS['en'].transfer}" in said
    assert said.count(WORDS["en"].sorry) == 2  # the text of the last words may come too late


async def test_a_model_that_hears_and_speaks_by_itself_greets_and_answers(
    bed: Bed, services: Services
) -> None:
    async with bed.phone(DIALED_BOTH) as caller:
        await caller.wait_for_words(timeout_s=ANSWER_S, containing="view of the harbour")
        heard = pitch_of(loud_part(caller.recording.pcm), rate=HEARD_HZ)
        caller.speak(question())
        await caller.wait_for_words(timeout_s=ANSWER_S, count=2)

    assert heard == pytest.approx(services.openai.hz, abs=15)
    (asked,) = (one for one in services.openai.requests if one.path == "/v1/realtime")
    assert "cedar" in repr(asked.sent)
    assert "Ben speaking" in repr(asked.sent)
    assert "night porter" in repr(asked.sent)
