"""Speech to speech over each provider's own protocol, well and ill."""

import asyncio
import contextlib

import pytest
from livekit import rtc
from livekit.agents import APIError, llm

from agent.job import Brief
from personas.model import Voice
from personas.options import PersonaOptions
from tests.providers.conftest import Services
from tests.providers.service import RATE, Fault, hum, pitch_of

# Google's library says of itself, through LiveKit's plugin, that it will change
pytestmark = pytest.mark.filterwarnings("ignore:Setting `LiveConnectConfig:DeprecationWarning")

CONVERSERS = ("openai", "google")
VOICES = {"openai": "cedar", "google": "Kore"}
TIMEOUT_S = 20.0


def brief(provider: str) -> Brief:
    options = PersonaOptions.model_validate({"speech_to_speech": provider})
    voice = Voice(id=VOICES[provider])
    return Brief(language="de", voice=voice, options=options)


class Conversation:
    """A session with the model alone, as LiveKit's agents hold one."""

    def __init__(self, model: llm.RealtimeModel) -> None:
        self.errors: asyncio.Queue[llm.RealtimeModelError] = asyncio.Queue()
        self.session = model.session()
        self.session.on("error", self.errors.put_nowait)

    async def say(self) -> tuple[str, bytes]:
        """Have the model speak: its words and its sound."""
        async with asyncio.timeout(TIMEOUT_S):
            generation = await self.session.generate_reply(instructions="Greet the caller.")
            async for message in generation.message_stream:
                frames = [frame async for frame in message.audio_stream]
                words = "".join([str(part) async for part in message.text_stream])
                return words, b"".join(bytes(frame.data.cast("B")) for frame in frames)
        return "", b""

    async def failure(self) -> llm.RealtimeModelError:
        """Wait for the error after which it cannot go on."""
        async with asyncio.timeout(TIMEOUT_S):
            while (error := await self.errors.get()).recoverable:
                pass
        return error


@pytest.mark.parametrize("provider", CONVERSERS)
async def test_the_model_speaks_with_the_personas_voice(services: Services, provider: str) -> None:
    parts = services.choose(brief(provider))
    assert isinstance(parts.mind, llm.RealtimeModel)
    talk = Conversation(parts.mind)

    words, pcm = await talk.say()
    await talk.session.aclose()

    assert parts.problems == ()
    assert (parts.mouth, parts.ears, parts.hears_audio) == (None, None, True)
    assert words == services.openai.answer
    assert pitch_of(pcm) == pytest.approx(services.of(provider).hz, abs=8)
    assert VOICES[provider] in repr(services.of(provider).requests[0].sent)
    if provider == "google":
        assert "de-DE" in repr(services.google.requests[0].sent)


@pytest.mark.parametrize("provider", CONVERSERS)
async def test_the_model_hears_the_caller(services: Services, provider: str) -> None:
    parts = services.choose(brief(provider))
    assert isinstance(parts.mind, llm.RealtimeModel)
    talk = Conversation(parts.mind)
    answered = asyncio.Event()
    talk.session.on("generation_created", lambda _: answered.set())

    pcm = hum(0.6, hz=300) + bytes(RATE * 2)
    async with asyncio.timeout(TIMEOUT_S):
        while not answered.is_set():
            for at in range(0, len(pcm), 4800):
                talk.session.push_audio(rtc.AudioFrame(pcm[at : at + 4800], RATE, 1, 2400))
            await asyncio.sleep(0.2)  # the model answers over the network
    await talk.session.aclose()


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.TOO_MANY, Fault.SILENT])
@pytest.mark.parametrize("provider", CONVERSERS)
async def test_a_model_that_cannot_be_reached_is_an_error(
    services: Services, provider: str, fault: Fault
) -> None:
    services.of(provider).fault = fault
    parts = services.choose(brief(provider))
    assert isinstance(parts.mind, llm.RealtimeModel)
    talk = Conversation(parts.mind)

    failure = await talk.failure()
    with contextlib.suppress(APIError):  # the same again
        await talk.session.aclose()

    assert failure.type == "realtime_model_error"


@pytest.mark.parametrize("provider", CONVERSERS)
async def test_a_model_that_is_cut_off_is_connected_again(
    services: Services, provider: str
) -> None:
    services.of(provider).fault = Fault.CUT
    parts = services.choose(brief(provider))
    assert isinstance(parts.mind, llm.RealtimeModel)
    talk = Conversation(parts.mind)

    _, pcm = await talk.say()
    services.of(provider).fault = None
    async with asyncio.timeout(TIMEOUT_S):
        while len(services.of(provider).requests) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # what the plugin does in the background
    words, _ = await talk.say()
    await talk.session.aclose()

    assert len(pcm) < RATE * 2
    assert words == services.openai.answer


@pytest.mark.parametrize(
    ("asked", "changes", "problem"),
    [
        ("hal", {}, "speech_to_speech: unknown provider (known: openai, google)"),
        ("google", {"google_api_key": None}, "speech_to_speech: google lacks GOOGLE_API_KEY"),
    ],
)
async def test_speech_to_speech_in_vain_is_a_problem_and_the_three_parts(
    services: Services, asked: str, changes: dict[str, None], problem: str
) -> None:
    options = PersonaOptions.model_validate({"speech_to_speech": asked})

    parts = services.choose(Brief(options=options), **changes)

    assert parts.problems == (f"{problem}: the house's choice",)
    assert parts.mouth is not None
