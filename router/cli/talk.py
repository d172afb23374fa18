"""`talk`: a conversation in the terminal with the agent's own code, or a test of a persona."""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from router.cli.exits import NotThere

#: In whose metadata a payload stands, by the keys of its layout; any other is the job's.
PLACES = (("custom_greeting", "participant"), ("campaignPrompt", "room"))
JOB_KEYS = ("agent_config", "phone_number", "personality", "conversationStructure")


def talk(
    number: Annotated[
        str,
        typer.Argument(metavar="[NUMBER]", help="Talk to the persona that answers this number."),
    ] = "",
    persona: Annotated[
        Path | None, typer.Option(help="Talk to the persona in this file.", exists=True)
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="A payload of another backend: of a job, room or participant.", exists=True
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(help="Lines to say and what to expect; exits with 6 if not met.", exists=True),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a turn.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Talk to a persona as text: the agent's instructions and tools, without a phone.

    Without the keys of a language model a scripted one answers.
    """
    if sum(map(bool, (number, persona))) > 1 or not (number or persona or metadata):
        raise typer.BadParameter("give NUMBER, or --persona FILE, or --metadata FILE")
    rehearsal: dict[str, Any] = {"as_json": as_json}
    if persona is not None:
        rehearsal |= _of_file(persona)
    if number:
        rehearsal["job"] = asyncio.run(_of_number(number, dev=dev))
    if metadata is not None:
        text = metadata.read_text(encoding="utf-8")
        rehearsal[place_of(text)] = text
    if script is not None:
        rehearsal["script"] = script.read_text(encoding="utf-8")
    raise typer.Exit(_run(rehearsal))


def place_of(text: str) -> str:
    """Say whether a payload is the metadata of a job, a room or a participant."""
    try:
        document = json.loads(text)
    except ValueError:
        return "job"  # the agent says what is wrong with it
    if not isinstance(document, dict) or any(key in document for key in JOB_KEYS):
        return "job"
    return next((place for key, place in PLACES if key in document), "job")


def _of_file(path: Path) -> dict[str, Any]:
    from personas.sources.files import read_persona

    found = read_persona(path)
    return {"job": found.raw, "persona": dict(found.document)}


async def _of_number(number: str, *, dev: bool) -> str:
    """Give the job metadata that a call to *number* would be dispatched with."""
    import structlog

    from personas.contract import CallConfig, encode
    from personas.sources.files import house
    from router.demo.deliveries import joined
    from router.rehearsals import rehearse
    from router.routing import Answer, decide
    from router.services import plan_from
    from router.settings import RouterSettings

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    settings = RouterSettings.load(router_dev=dev or None)
    decision = decide(joined(number=number), plan_from(settings))
    if not isinstance(decision, Answer):
        raise NotThere(f"nobody answers this number: {decision.because}")
    dialed = decision.call.dialed
    found = await rehearse(settings, dialed)
    call = CallConfig(
        call_id="talk",
        room="talk",
        dialed_number=dialed.number.e164 if dialed.number else None,
        dialed_as=dialed.dialed_as or None,
        origin=found.origin,
    )
    return encode(found.persona, call, house(settings.persona_dir)).text


def _run(rehearsal: dict[str, Any]) -> int:
    # A process of its own: router and agent know nothing of each other's code.
    with tempfile.TemporaryDirectory(prefix="persona-router-") as folder:
        path = Path(folder) / "rehearsal.json"
        path.write_text(json.dumps(rehearsal), encoding="utf-8")
        command = [sys.executable, "-m", "agent", "talk", str(path)]
        return subprocess.run(command, check=False).returncode  # noqa: S603  # our own module


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(talk)
