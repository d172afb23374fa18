"""Where the house persona and the personas of campaigns come from."""

from collections.abc import Callable
from dataclasses import dataclass

from personas.errors import PersonaError
from personas.model import Persona
from personas.sources.files import FilePersonaSource


@dataclass(frozen=True, slots=True)
class House:
    """Reads the files as they are when a call begins."""

    shipped: Persona
    files: FilePersonaSource | None = None

    async def persona(self) -> Persona:
        """Give the house persona as it is now."""
        return await self.files.house() if self.files else self.shipped

    async def by_id(self, persona_id: str | None) -> Callable[[str], Persona | None]:
        """Look for the persona file of an id; give what tells of it, as :func:`job.read` asks.

        What that raises is a PersonaError: there is a file, and it cannot be used.
        """
        found: Persona | PersonaError | None = None
        if persona_id is not None and self.files is not None:
            try:
                found = await self.files.by_id(persona_id)
            except PersonaError as exc:
                found = exc

        def given(_: str) -> Persona | None:
            if isinstance(found, PersonaError):
                raise found
            return found

        return given
