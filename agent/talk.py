"""A conversation as text in the terminal, without a room: the agent's own instructions and tools.

``persona-router talk`` writes a file with what a job would bring and starts this in a process of
its own. The language model is that of calls: scripted without keys, real with them.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field, replace
from typing import Any, Final, TextIO

from livekit.agents import AgentSession, utils
from pydantic import BaseModel

from agent import job, script, speech
from agent.conversation import Conversation
from agent.errors import ScriptInvalid
from agent.house import House
from agent.presence import Presence
from agent.report import NoReporter
from agent.settings import AgentSettings
from agent.stages import Stages
from agent.wording import filled
from personas.model import Persona
from personas.options import TransferTarget
from personas.reports import Event, ToolCall, Turn
from personas.sources.files import FilePersonaSource, shipped

ANSWER_TIMEOUT_S: Final = 120.0  # a model that says nothing for so long does not answer
OK, BAD_SCRIPT, MODEL_AWAY, NOT_MET = 0, 2, 5, 6  # exit statuses


class Rehearsal(BaseModel):
    """What a conversation is held with: the metadata of a job, of its room and participant."""

    job: str = ""
    room: str = ""
    participant: str = ""
    persona: dict[str, Any] | None = None  # the persona that a campaign call names
    script: str | None = None  # its text; None: read lines from the terminal
    as_json: bool = False


@dataclass
class Answer:
    """What the agent said and used since the caller's last words."""

    said: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)


class TalkReporter(NoReporter):
    """Hears what a record would be made of; there is no router to run its tools."""

    def __init__(self) -> None:
        self.answer = Answer()

    def note(self, event: Event) -> None:
        """Keep words and tools of the agent until they are taken."""
        if isinstance(event, Turn) and event.by == "agent":
            self.answer.said.append(event.text)
        elif isinstance(event, ToolCall):
            self.answer.called.append(event.name)

    def taken(self) -> Answer:
        """Give what was kept, and begin anew."""
        answer, self.answer = self.answer, Answer()
        return answer


@dataclass
class TalkWays:
    """The end of a conversation without a call."""

    reason: str = ""

    def end(self, reason: str) -> None:
        """Note that it is over."""
        self.reason = self.reason or reason

    async def refer(self, target: TransferTarget) -> None:
        """Note to whom the caller would be put through."""
        self.end(f"the caller was put through to {target.name}")


async def talk(
    settings: AgentSettings, rehearsal: Rehearsal, *, stdin: TextIO | None = None
) -> int:
    """Hold one conversation; return the exit status."""
    try:
        steps = None if rehearsal.script is None else script.parse(rehearsal.script)
    except ScriptInvalid as exc:
        sys.stderr.write(f"error {exc.reason}\n")
        return BAD_SCRIPT
    async with utils.http_context.open():
        stage = await _begin(settings, rehearsal)
        try:
            if steps is None:
                return await _by_hand(stage, stdin or sys.stdin)
            return await _by_script(stage, steps)
        except (TimeoutError, RuntimeError) as exc:
            sys.stderr.write(f"error the language model did not answer ({type(exc).__name__})\n")
            return MODEL_AWAY
        finally:
            await stage.aclose()


@dataclass
class Stage:
    """One conversation that is going on."""

    name: str
    as_json: bool
    conversation: Conversation
    session: AgentSession[None]
    reporter: TalkReporter
    ways: TalkWays
    greets_through_model: bool

    async def greet(self) -> Answer:
        """Have the agent say its greeting, if it has one."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self.conversation.greet(None, through_model=self.greets_through_model)
            await self.session.wait_for_idle()
        return self.reporter.taken()

    async def say(self, words: str) -> Answer:
        """Say *words* to the agent."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self.session.run(user_input=words)
        return self.reporter.taken()

    def show(self, says: str | None, answer: Answer, failures: list[str]) -> None:
        """Print one turn."""
        if self.as_json:
            turn = {"says": says, "said": answer.said, "calls": answer.called, "failed": failures}
            sys.stdout.write(json.dumps(turn, ensure_ascii=False) + "\n")
        else:
            lines = [f"  [{name}]" for name in answer.called]
            lines += [f"{self.name}: {words}" for words in answer.said]
            sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        for failure in failures:
            sys.stderr.write(f"error {says or 'greeting'}: {failure}\n")

    async def aclose(self) -> None:
        """End it."""
        await self.conversation.aclose()
        await self.session.aclose()


async def _begin(settings: AgentSettings, rehearsal: Rehearsal) -> Stage:
    files = FilePersonaSource(settings.persona_dir) if settings.persona_dir else None
    house = House(shipped("house"), files)
    named = await house.by_id(job.persona_id_of(rehearsal.job))
    if rehearsal.persona is not None:
        persona = Persona.from_document(rehearsal.persona)

        def named(_: str) -> Persona | None:
            return persona

    brief = filled(
        job.read(
            *(rehearsal.job, rehearsal.room, rehearsal.participant),
            house=await house.persona(),
            personas_by_id=named,
        )
    )
    parts = replace(speech.choose(settings, brief), ears=None, vad=None)
    reporter, ways = TalkReporter(), TalkWays()
    conversation = Conversation(
        brief,
        parts,
        ways=ways,
        reporter=reporter,
        presence=Presence(),
        stages=Stages(clock=asyncio.get_running_loop().time),
        longest_s=settings.agent_max_call_s,
    )
    return Stage(
        name=brief.persona_name or "agent",
        as_json=rehearsal.as_json,
        conversation=conversation,
        session=await conversation.rehearse(),
        reporter=reporter,
        ways=ways,
        greets_through_model=settings.force_first_message,
    )


async def _by_hand(stage: Stage, stdin: TextIO) -> int:
    stage.show(None, await stage.greet(), [])
    while not stage.ways.reason:
        if stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = await asyncio.to_thread(stdin.readline)
        if not line:
            return OK
        if words := line.strip():
            stage.show(words, await stage.say(words), [])
    sys.stderr.write(f"({stage.ways.reason})\n")
    return OK


async def _by_script(stage: Stage, steps: tuple[script.Step, ...]) -> int:
    failed = 0
    greeting = await stage.greet()
    for step in steps if steps[0].says is None else (script.Step(), *steps):
        if step.says is not None and stage.ways.reason:
            sys.stderr.write(f"error {step.says}: the call was over: {stage.ways.reason}\n")
            return NOT_MET
        answer = greeting if step.says is None else await stage.say(step.says)
        if step.says is not None and not stage.as_json:
            sys.stdout.write(f"> {step.says}\n")
        failures = step.failures(" ".join(answer.said), answer.called)
        stage.show(step.says, answer, failures)
        failed += len(failures)
    return NOT_MET if failed else OK
