"""Tells the router what happens in a call, and asks it to run tools."""

from collections.abc import Mapping
from typing import Any, Protocol

from agent.errors import ToolUnavailable
from personas.reports import Event


class Reporter(Protocol):
    """Takes what a call's record is made of."""

    def note(self, event: Event) -> None:
        """Keep *event* and send it in the background; never waits, never raises."""
        ...

    async def keep(self, event: Event) -> None:
        """Do as ``note`` does, and return when the event is on disk."""
        ...

    async def tool(self, name: str, arguments: Mapping[str, Any], *, deadline_s: float) -> str:
        """Have the router run a tool; return what the model shall hear.

        Raises:
            ToolUnavailable: in words for the model.
        """
        ...

    async def aclose(self) -> None:
        """Send what is left, for a while; what is then left is sent later."""
        ...


class NoReporter:
    """Keeps nothing: the job did not say where to report to."""

    def note(self, event: Event) -> None:
        """Let it go."""

    async def keep(self, event: Event) -> None:
        """Let it go."""

    async def tool(  # the arguments are the protocol's
        self,
        name: str,  # noqa: ARG002
        arguments: Mapping[str, Any],  # noqa: ARG002
        *,
        deadline_s: float,  # noqa: ARG002
    ) -> str:
        """Tell the model that there is nobody to ask."""
        raise ToolUnavailable("This cannot be done on this call.")

    async def aclose(self) -> None:
        """Nothing is left."""
