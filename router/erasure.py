"""Gives out and erases one person: the database, copies of personas, and an agent's spool."""

import asyncio
import fcntl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from personas.lookup import PersonaLookup
from personas.phone import PhoneNumber
from personas.sources.last_known_good import forget_copies_with
from router.errors import ErasureRefused
from router.records.people import People, Person, Traces

log = structlog.get_logger(__name__)

SPOOL_SUFFIX: Final = ".spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Does for a person what the law gives them."""

    people: People
    lookup: PersonaLookup
    copies: Path  # of personas, on disk
    spool: Path | None = None  # of an agent on this machine

    async def export(self, person: Person) -> dict[str, list[dict[str, Any]]]:
        """Return all that the database keeps of *person*; raises StoreUnavailable."""
        return await self.people.export(await self.people.find(person))

    async def erase(self, person: Person) -> dict[str, int]:
        """Delete it everywhere; return how much there was of each kind.

        Raises:
            ErasureRefused: the person is on the phone.
            StoreUnavailable: the database did not answer.
        """
        traces = await self.people.find(person)
        counts = await self.people.erase(traces)
        counts["personas"] = await self._purge(traces)
        if self.spool is not None:
            counts["spooled"] = erase_spooled(self.spool, traces)
        log.info("person.erased", calls=len(traces.call_ids), rows=sum(counts.values()))
        return counts

    async def _purge(self, traces: Traces) -> int:
        """Forget the copies of personas that name the person, or are kept under their number.

        Where there is none nothing is purged: a purge tells the others the number, through Redis.
        """
        found = await asyncio.to_thread(forget_copies_with, self.copies, traces.needles)
        for e164 in found:
            await self.lookup.purge(PhoneNumber(e164))
        return len(found)


def erase_spooled(folder: Path, traces: Traces) -> int:
    """Delete the reports of a person that wait in *folder*; return how many files.

    Raises:
        ErasureRefused: one is in use; its call goes on.
    """
    gone = 0
    for path in sorted(folder.glob(f"*{SPOOL_SUFFIX}")):
        if _is_theirs(path, traces.call_ids, traces.needles):
            _remove(path)
            gone += 1
    return gone


def _is_theirs(path: Path, call_ids: Sequence[str], needles: Sequence[str]) -> bool:
    if path.name.partition(".")[0] in call_ids:
        return True
    text = path.read_bytes().lower()
    return any(needle.encode() in text for needle in needles)


def _remove(path: Path) -> None:
    with path.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "an agent is writing or sending a report of this person; try again in a moment"
            raise ErasureRefused("in_use", fix=fix) from None
        path.unlink()
