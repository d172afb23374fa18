"""What an agent is given of before: facts of this call, or of the caller's earlier ones.

The first when it takes over from an agent that the caller has spoken to, the second when the
persona wants it (``remember``). A ringing caller waits for it for ``RECALL_S`` at most, and no
other caller waits at all.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from personas.model import Persona
from personas.options import read_options
from router.errors import StoreUnavailable
from router.principals import DEFAULT_TENANT
from router.records.archive import Archive, FactRecord

log = structlog.get_logger(__name__)

RECALL_S: Final = 0.25
MAX_EARLIER: Final = 20
MAX_SO_FAR: Final = 50


@dataclass(frozen=True, slots=True)
class Recall:
    """Reads facts for `_call.memory`."""

    records: Archive
    tenant_of: Callable[[str | None], str] = lambda _number: DEFAULT_TENANT

    async def memory(
        self,
        persona: Persona,
        *,
        call_id: str,
        caller: str | None,
        dialed: str | None = None,
        resume: bool,
    ) -> list[dict[str, Any]]:
        """Return facts, the oldest first; none when the database does not answer in time."""
        if not resume and (caller is None or not _remembers(persona)):
            return []
        try:
            async with asyncio.timeout(RECALL_S):
                if resume or caller is None:
                    found = (await self.records.facts_so_far(call_id))[-MAX_SO_FAR:]
                else:
                    found = await self.records.facts_of_caller(
                        caller,
                        besides=call_id,
                        limit=MAX_EARLIER,
                        tenant=self.tenant_of(dialed),
                    )
        except (StoreUnavailable, TimeoutError) as exc:
            log.warning("memory.not_read", call_id=call_id, error=type(exc).__name__)
            return []
        return _told(found)


def _remembers(persona: Persona) -> bool:
    # A document that does not speak of it is not parsed for it: every call passes here.
    return '"remember"' in persona.raw and read_options(persona.document)[0].remember


def _told(facts: Sequence[FactRecord]) -> list[dict[str, Any]]:
    return [
        {"category": fact.category, "information": fact.information, "at": fact.at}
        for fact in sorted(facts, key=lambda fact: fact.at)
    ]
