"""The port behind ``POST /api/calls/{id}/tools/{name}``: what agents have the router do."""

from collections.abc import Mapping
from typing import Any, Protocol

from personas.model import Persona


class Toolbox(Protocol):
    """Runs tools for calls."""

    async def run(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> str:
        """Run the tool *name* for a call; return what the model shall hear.

        Raises:
            ToolRefused: it was not done; in words for the model.
            StoreUnavailable: the database did not answer.
        """
        ...

    async def rehearse(
        self, persona: Persona, name: str, arguments: Mapping[str, Any], *, tenant: str
    ) -> str:
        """Run the tool *name* of *persona* for a call that is none, and keep nothing of it.

        Raises:
            ToolRefused, StoreUnavailable: as ``run``.
        """
        ...
