"""When nobody is left: told once, the session stays open, and the caller hears a recording."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit.agents import NOT_GIVEN, Agent, AgentSession, APIError, llm, tts

from agent import speech
from agent.job import Brief
from agent.speech import apology, failing
from agent.speech.languages import LANGUAGES
from personas.options import PersonaOptions
from tests.providers.conftest import Services
from tests.providers.service import Fault, pitch_of

TIMEOUT_S = 20.0


@asynccontextmanager
async def session_of(
    parts: speech.Speech, failures: asyncio.Queue[failing.Failure]
) -> AsyncIterator[AgentSession[None]]:
    """A session as a call has one, without a room."""
    session = AgentSession[None](
        llm=parts.mind,
        tts=parts.mouth or NOT_GIVEN,
        vad=None,
        conn_options=parts.connect,
        turn_handling={"turn_detection": parts.turn_detection if parts.mouth is None else None},
    )
    failing.watch(session, failures.put_nowait)
    async with session:
        await session.start(Agent(instructions="You are Mira."))
        yield session


async def next_failure(failures: asyncio.Queue[failing.Failure]) -> failing.Failure:
    async with asyncio.timeout(TIMEOUT_S):
        return await failures.get()


async def test_a_call_that_nobody_can_think_for_has_failed_and_can_still_speak(
    services: Services,
) -> None:
    services.openai.fault = services.azure_openai.fault = Fault.TOO_MANY
    failures: asyncio.Queue[failing.Failure] = asyncio.Queue()

    async with session_of(services.choose(Brief()), failures) as session:
        session.generate_reply(user_input="Do you have a room?")
        failure = await next_failure(failures)
        session.generate_reply(user_input="Hello?")
        async with asyncio.timeout(TIMEOUT_S):
            await session.say("I am sorry.").wait_for_playout()

    assert failure == failing.Failure("thinking", "APIConnectionError")
    assert failures.empty()


async def test_an_answer_that_is_cut_is_no_failure_before_the_third(services: Services) -> None:
    services.openai.fault = services.azure_openai.fault = Fault.CUT
    failures: asyncio.Queue[failing.Failure] = asyncio.Queue()
    options = PersonaOptions.model_validate({"llm": "openai"})
    asked = 0

    async with session_of(services.choose(Brief(options=options)), failures) as session:
        async with asyncio.timeout(TIMEOUT_S):
            while failures.empty():
                asked += 1
                await session.generate_reply(user_input="Do you have a room?")
                await asyncio.sleep(0)  # the error is told after the answer

    assert (await next_failure(failures)).what == "thinking"
    assert asked >= failing.MAX_CUT_ANSWERS


@pytest.mark.parametrize("provider", ["openai"])
async def test_a_realtime_model_that_is_refused_has_failed(
    services: Services, provider: str
) -> None:
    services.of(provider).fault = Fault.UNAUTHORIZED
    failures: asyncio.Queue[failing.Failure] = asyncio.Queue()
    options = PersonaOptions.model_validate({"speech_to_speech": provider})

    with pytest.raises(APIError):  # closing the model's session says it once more
        async with session_of(services.choose(Brief(options=options)), failures):
            failure = await next_failure(failures)

    assert failure.what == "speech to speech"


async def test_the_apology_is_said_whatever_has_failed(services: Services) -> None:
    for service in services.all():
        service.fault = Fault.UNAUTHORIZED
    failures: asyncio.Queue[failing.Failure] = asyncio.Queue()

    async with session_of(services.choose(Brief()), failures) as session:
        session.generate_reply(user_input="Hello?")
        await next_failure(failures)
        async with asyncio.timeout(TIMEOUT_S):
            await apology.apologise(session, "de", transfers=True)


@pytest.mark.parametrize("transfers", [True, False])
@pytest.mark.parametrize("language", [*LANGUAGES, "tlh"])
async def test_every_language_has_its_apology(language: str, *, transfers: bool) -> None:
    frames = [frame async for frame in apology.frames(language, transfers=transfers)]

    assert 3.0 < sum(frame.duration for frame in frames) < 9.0
    sound = b"".join(bytes(frame.data.cast("B")) for frame in frames)
    assert max(memoryview(sound).cast("h")) > 8_000
    assert pitch_of(sound, rate=frames[0].sample_rate) > 50
    assert apology.words(language, transfers=transfers)


def test_the_words_and_the_recordings_are_those_of_the_languages_that_we_speak() -> None:
    assert set(apology.WORDS) == set(LANGUAGES)


def test_what_is_built_stands_behind_livekits_interfaces(services: Services) -> None:
    parts = services.choose(Brief())

    assert isinstance(parts.mind, llm.FallbackAdapter)
    assert isinstance(parts.mouth, tts.FallbackAdapter)
