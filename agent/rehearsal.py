"""What is slow the first time, done while there is no call: it would hold up somebody's audio."""

from collections.abc import Iterator
from typing import Any

from livekit.agents import llm
from livekit.agents.utils import http_context
from pydantic import BaseModel

from agent import job, tools
from agent.report import NoReporter
from personas.facts import Facts
from personas.options import PersonaOptions, TransferTarget


class _NoLine:
    """Stands for a call while there is none."""

    async def hang_up(self, reason: str, *, detail: str = "", spoken: str = "") -> None:
        """Do nothing."""

    async def transfer(self, target: TransferTarget) -> None:
        """Do nothing."""


def rehearse() -> None:
    """Read the certificates, finish LiveKit's models, build the usual tools once."""
    http_context._create_ssl_context()  # noqa: SLF001 - the one way that needs no event loop
    for model in _unfinished(BaseModel):
        model.model_rebuild(raise_errors=False)
    options = PersonaOptions(transfer_targets=(TransferTarget(name="x", number="+13125550100"),))
    built = tools.tools_for(job.Brief(options=options), NoReporter(), _NoLine(), facts=Facts())
    llm.ToolContext(built).parse_function_tools("openai")


def _unfinished(base: type[Any]) -> Iterator[type[BaseModel]]:
    """Give the models of LiveKit that pydantic has put off until they are used."""
    for model in base.__subclasses__():
        if model.__module__.startswith("livekit.") and not model.__pydantic_complete__:
            yield model
        yield from _unfinished(model)
