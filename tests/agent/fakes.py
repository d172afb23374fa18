"""Stand-ins for what a conversation reaches outside of its process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.errors import ToolUnavailable, TransferFailed
from personas.options import TransferTarget
from personas.reports import Event, Fact, ToolCall


@dataclass
class FakeReporter:
    """Keeps events in memory; *answers* are the router's to tools by name, absent: it is away."""

    answers: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    kept: list[Event] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def note(self, event: Event) -> None:
        self.events.append(event)

    async def keep(self, event: Event) -> None:
        self.kept.append(event)

    async def tool(self, name: str, arguments: Mapping[str, Any], *, deadline_s: float) -> str:
        assert deadline_s > 0
        self.asked.append((name, dict(arguments)))
        if name not in self.answers:
            raise ToolUnavailable(f"{name} cannot be reached.")
        return self.answers[name]

    async def aclose(self) -> None:
        pass

    @property
    def facts(self) -> list[Fact]:
        return [event for event in self.kept if isinstance(event, Fact)]

    @property
    def uses(self) -> list[tuple[str, bool]]:
        """Name and outcome of the tools that were used."""
        return [(event.name, event.ok) for event in self.events if isinstance(event, ToolCall)]


@dataclass
class FakeLine:
    """A call that can be ended and handed on; *engaged*: it cannot be handed on."""

    engaged: bool = False
    ended: list[tuple[str, str]] = field(default_factory=list)  # reason and detail
    transfers: list[TransferTarget] = field(default_factory=list)

    async def hang_up(self, reason: str, *, detail: str = "", spoken: str = "") -> None:
        self.ended.append((reason, detail))

    async def transfer(self, target: TransferTarget) -> None:
        if self.engaged:
            raise TransferFailed("They could not be put through.")
        self.transfers.append(target)
