"""What is made of the payloads: metadata as the router encodes it, briefs as the agent reads it.

``encoded/`` is written by the router's side and read by the agent's, so the two cannot drift apart.
"""

from pathlib import Path
from typing import Final

from personas.contract import CallConfig, Origin, Report, Ring
from personas.model import Persona
from tests.samples import FOLDER

GOLDEN: Final = Path(__file__).parent
#: The payloads that the router encodes: those that are persona documents.
ENCODED: Final = ("job_persona_document", "job_persona_structure")
HOUSE: Final = Persona.from_document(
    {
        "persona_name": "House",
        "personality": "You answer when nobody else does.",
        "welcome_message": "Hello from the house.",
        "closing_message": "Goodbye from the house.",
        "language": "en",
        "voice": "house-voice",
    }
)


def payload(name: str) -> str:
    """Give one of the payloads, as its backend sends it."""
    return (FOLDER / "metadata" / f"{name}.json").read_text(encoding="utf-8")


def names() -> list[str]:
    """Name all payloads."""
    return sorted(path.stem for path in (FOLDER / "metadata").glob("*.json"))


def encoded(name: str) -> str:
    """Give the job metadata that the router makes of a payload."""
    return (GOLDEN / "encoded" / f"{name}.json").read_text(encoding="utf-8").rstrip("\n")


def call_of(persona: Persona) -> CallConfig:
    """Describe the call that the encoded payloads belong to."""
    return CallConfig(
        call_id="c0ffee",
        room="call-golden",
        dialed_number="+18655701159",
        dialed_as="8655701159",
        caller="+13125550123",
        origin=Origin(source="api", version=persona.version, because="the persona API answered"),
        variables={"name": "Ruth Alder", "company_name": "Alder Ltd"},
        memory=[{"category": "qualification", "information": "has two children"}],
        report=Report(url="http://127.0.0.1:8080/api/reports", token="made-up"),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ring=Ring(webhook_at=1795232762.114, dispatched_at=1795232762.131),
        attempt=2,
    )
