"""The demo: everything on this machine, on loopback, and calls that are answered for real.

LiveKit's server, a small persona API, the router and the agent's worker run as they would in
production. The callers are participants of kind SIP with the gateway's attributes.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from personas.errors import PersonaRouterError
from personas.model import Persona
from personas.sources.files import shipped
from router.demo import binary
from router.demo.errors import CallFailed
from router.demo.livekit_server import LiveKitServer
from router.demo.persona_api import PersonaApi
from router.demo.phone import Phone, livekit_rtc
from router.demo.services import AgentProcess, RouterProcess
from router.demo.settings import DemoSettings
from router.demo.timeline import Stage, dispatched, stages

ANSWER_TIMEOUT_S: Final = 20.0
WORDS_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.03
ATTRIBUTE_VERSION: Final = "persona.version"
ATTRIBUTE_ORIGIN: Final = "persona.origin"

IN_THE_US, IN_GERMANY, NEVER_SEEN = "8655701159", "+4930901820", "+13125550147"  # made up
REGION: Final = "US"


@dataclass(frozen=True, slots=True)
class Plan:
    """One call, and who has to answer it."""

    title: str
    dialed: str
    caller: str
    says: str
    persona: Persona
    source: str
    file: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one call."""

    plan: Plan
    heard: Sequence[str]  # what the agent said, in order
    recording: Path
    wrong: str  # "" when the right persona answered


def _of_number(persona_id: str, number: str) -> Persona:
    return Persona.from_document({**shipped(persona_id).document, "mobile": number})


def plans() -> tuple[Sequence[Plan], Sequence[Plan]]:
    """Return the calls while the persona API is up, and those while it is down."""
    lakeside = _of_number("lakeside-dental", IN_THE_US)
    up = (
        Plan(
            title="1. A number in the United States",
            dialed=IN_THE_US,
            caller="+13125550123",
            says="Hello, who am I speaking to?",
            persona=lakeside,
            source="api",
            file="call-1.wav",
        ),
        Plan(
            title="2. A number in Germany",
            dialed=IN_GERMANY,
            caller="+13125550124",
            says="Guten Tag, mit wem spreche ich?",
            persona=_of_number("nord-versand", IN_GERMANY),
            source="api",
            file="call-2.wav",
        ),
    )
    down = (
        Plan(
            title="3. The persona API is down, the router restarted: a number it knew before",
            dialed=IN_THE_US,
            caller="+13125550125",
            says="Hello, is that still you?",
            persona=lakeside,
            source="last_known_good",
            file="call-3.wav",
        ),
        Plan(
            title="   and still down: a number that nobody has asked for yet",
            dialed=NEVER_SEEN,
            caller="+13125550126",
            says="Hello, is anybody there?",
            persona=shipped("house"),
            source="house",
            file="call-3-house.wav",
        ),
    )
    return up, down


async def run(into: Path) -> int:
    """Run the demo; recordings go to *into*. Return 0 when every call was answered rightly."""
    settings = DemoSettings.load()
    began = time.monotonic()
    try:
        livekit_rtc()
        program = await asyncio.to_thread(binary.ensure, settings, _say)
        await asyncio.to_thread(into.mkdir, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="persona-router-demo-") as folder:
            async with _Stage(Path(folder), settings, program) as stage:
                _say(f"everything runs after {time.monotonic() - began:.1f} s; calling now")
                answered = await stage.play(into)
    except PersonaRouterError as exc:
        _say(f"the demo cannot go on: {exc}")
        return 1
    except OSError as exc:
        _say(f"the demo cannot go on: {exc.strerror} ({exc.filename})")
        return 1
    _finish(answered)
    return 1 if any(call.wrong for call in answered) else 0


class _Stage:
    """All the processes, started in order and stopped in the other."""

    def __init__(self, folder: Path, settings: DemoSettings, program: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._program = program
        self._environ = settings.environ
        self._up, self._down = plans()
        self._api = PersonaApi(
            {plan.dialed.removeprefix("+"): plan.persona.document for plan in self._up}
        )

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        enter = self._stack.enter_async_context
        _say("starting the persona API")
        self._stack.enter_context(self._api)
        self._router = RouterProcess(
            self._folder / "router",
            environ=self._environ,
            persona_api_base=self._api.url,
            settings={"DEFAULT_REGION": REGION},
        )
        _say("starting livekit-server")
        self._livekit = await enter(
            LiveKitServer(
                self._program,
                webhook_urls=[self._router.webhook_url],
                log_path=self._folder / "livekit-server.log",
            )
        )
        _say("starting the router")
        self._router.connect(self._livekit)
        await enter(self._router)
        _say("starting the agent's worker (its libraries take some seconds to load)")
        await enter(AgentProcess(self._folder / "agent", self._livekit, environ=self._environ))

    async def play(self, into: Path) -> Sequence[Answered]:
        """Place the calls, showing each as soon as it is over."""
        answered = [await self._call(plan, into) for plan in self._up]
        _say("stopping the persona API, and restarting the router so that it has no copy in memory")
        self._api.stop()
        await self._router.stop()
        await self._router.start()
        return answered + [await self._call(plan, into) for plan in self._down]

    async def _call(self, plan: Plan, into: Path) -> Answered:
        server, logged = self._livekit, len(self._router.child.log())
        print(f"\n{plan.title}: {plan.dialed} rings …", flush=True)
        phone = Phone(
            server.url, server.api_key, server.api_secret, dialed=plan.dialed, caller=plan.caller
        )

        def so_far() -> Sequence[Stage]:
            return stages(phone.times, dispatched(self._router.child.log()[logged:]))

        wrong, shown = "", {}
        showing = asyncio.create_task(_show_live(so_far))
        try:
            async with phone:
                await phone.wait_for_answer(timeout_s=ANSWER_TIMEOUT_S)
                await phone.wait_for_words(timeout_s=WORDS_TIMEOUT_S, count=1)
                await phone.say(plan.says)
                await phone.wait_for_words(timeout_s=WORDS_TIMEOUT_S, count=2)
                shown = phone.agent_attributes
        except CallFailed as exc:
            wrong = str(exc)
        finally:
            showing.cancel()
        heard = [utterance.text for utterance in phone.utterances]
        recording = into / plan.file
        phone.recording.save(recording)
        call = Answered(plan, heard, recording, wrong or _compare(plan, shown, heard))
        _show(call)
        return call


async def _show_live(so_far: Callable[[], Sequence[Stage]]) -> None:
    """Print each stage as soon as it is known."""
    printed: set[str] = set()
    while True:
        for stage in so_far():
            if stage.name not in printed:
                printed.add(stage.name)
                print(
                    f"  {stage.at_ms:7.0f} ms  {stage.name:<13} {stage.said}".rstrip(), flush=True
                )
        await asyncio.sleep(POLL_S)


def _compare(plan: Plan, shown: dict[str, str], heard: Sequence[str]) -> str:
    if shown.get(ATTRIBUTE_VERSION) != plan.persona.version:
        return "another persona answered"
    if shown.get(ATTRIBUTE_ORIGIN) != plan.source:
        return f"the persona came from {shown.get(ATTRIBUTE_ORIGIN)}, not from {plan.source}"
    if not heard or heard[0].strip() != (plan.persona.welcome_message or "").strip():
        return "the welcome message was not what was said first"
    return ""


def _show(call: Answered) -> None:
    words = [("agent", text) for text in call.heard]
    words.insert(1, ("caller", call.plan.says))
    for who, text in words:
        print(f"  {who:>10}: {text}")
    print(f"  {'recorded':>10}: {call.recording}")
    verdict = f"WRONG: {call.wrong}" if call.wrong else f"right: {call.plan.persona.persona_name}"
    print(f"  {'answered':>10}: {verdict}", flush=True)


def _finish(answered: Sequence[Answered]) -> None:
    right = sum(not call.wrong for call in answered)
    print(f"\n{right} of {len(answered)} calls were answered by the right persona.")
    print(
        "\nWhat next:\n"
        "  listen        play the .wav files (a synthetic voice: no keys are needed for this)\n"
        "  your persona  copy one of personas/library, name it after your number, check it:\n"
        "                .venv/bin/persona-router personas lint my/+13125550100.yaml\n"
        "  your LiveKit  cp deploy/.env.example .env, fill it in, then in two terminals\n"
        "                .venv/bin/persona-router serve\n"
        "                .venv/bin/persona-router agent\n"
        "  all well?     .venv/bin/persona-router doctor\n"
        "  who answers?  .venv/bin/persona-router explain 8655701159"
    )


def _say(line: str) -> None:
    print(f"· {line}", file=sys.stderr, flush=True)
