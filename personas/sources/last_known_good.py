"""The last good answer of the persona API for each number, on disk.

One file for each number, named by a hash so that a listing shows no numbers; readable by us alone.
Nothing here ever raises: a copy that cannot be kept costs a log line, not a call.
"""

import asyncio
import errno
import hashlib
import heapq
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from cachetools import LRUCache
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personas.errors import PersonaInvalid
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber, read_dialed

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MAX_FILES: Final = 100_000
PRUNE_EVERY: Final = 1_000  # writes
REWRITE_AFTER_S: Final = 600.0  # an unchanged persona is written again only to renew its age
MAX_REMEMBERED: Final = 4_000  # of what was written when; forgetting costs a write
QUIET_S: Final = 60.0  # between two log lines about the same trouble
MAX_BYTES: Final = 1024 * 1024
_ORPHAN_S: Final = 3600.0


class _Copy(BaseModel):
    """What a file holds."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    format: int = Field(default=1, ge=1, le=1)
    number: str
    saved_at: float  # Unix seconds
    version: str
    raw: str
    dialed_as: str | None = None  # how it was dialed last, so that it can be asked for again
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy that was read back and found whole."""

    persona: Persona
    age_s: float


class LastKnownGood:
    """Keeps one persona for each number in *directory*. *wall* gives Unix seconds.

    With *read_only* nothing is ever written or removed: for rehearsals beside a live router.
    Over *max_files*, the oldest are removed, which is looked after every *prune_every* writes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        wall: Callable[[], float],
        max_files: int = MAX_FILES,
        prune_every: int = PRUNE_EVERY,
        read_only: bool = False,
    ) -> None:
        self._read_only = read_only
        self._directory = directory
        self._wall = wall
        self._max_files = max_files
        self._prune_every = prune_every
        self._saved: LRUCache[str, tuple[str, float]] = LRUCache(MAX_REMEMBERED)
        self._told_at: dict[str, float] = {}
        self._writes = 0
        # One thread, so that what is saved and deleted lands in the order it was asked for.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="last-known-good")

    async def aclose(self) -> None:
        """Finish what is being written."""
        await asyncio.to_thread(self._writer.shutdown)

    async def load(self, number: PhoneNumber) -> Kept | None:
        """Read the copy of *number*; a broken one, or another number's, is none."""
        return await asyncio.to_thread(self._load, number.e164)

    async def save(
        self, number: PhoneNumber, persona: Persona, dialed: DialedNumber | None = None
    ) -> None:
        """Keep *persona* as the last good one of *number*, which was dialed as *dialed*."""
        if self._read_only:
            return
        version, saved_at = self._saved.get(number.e164, ("", 0.0))
        if version == persona.version and 0 <= self._wall() - saved_at < REWRITE_AFTER_S:
            return
        self._saved[number.e164] = (persona.version, self._wall())
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._writer, self._save, number.e164, persona, dialed):
            self._saved.pop(number.e164, None)

    async def delete(self, number: PhoneNumber | None, *, before: float | None = None) -> None:
        """Forget *number*, or with ``None`` every number; only what is older than *before*."""
        if self._read_only:
            return
        if number is None:
            self._saved.clear()
        else:
            self._saved.pop(number.e164, None)
        loop = asyncio.get_running_loop()
        e164 = number.e164 if number else None
        await loop.run_in_executor(self._writer, self._delete, e164, before)

    async def known(self, limit: int) -> list[DialedNumber]:
        """List numbers that have a copy, as they were dialed last, the newest *limit* of them."""
        return await asyncio.to_thread(self._known, limit)

    def _path(self, e164: str) -> Path:
        return self._directory / f"{hashlib.sha256(e164.encode()).hexdigest()}.json"

    def _load(self, e164: str) -> Kept | None:
        try:
            with self._path(e164).open("rb") as file:
                copy = _Copy.model_validate_json(file.read(MAX_BYTES))
            if copy.number != e164:
                self._tell("last_known_good.refused", "other_number")
                return None
            persona = Persona.from_json(copy.raw)
        except FileNotFoundError:
            return None
        except OSError as exc:
            self._tell("last_known_good.unreadable", _errno_name(exc))
            return None
        except (ValidationError, PersonaInvalid):
            self._tell("last_known_good.refused", "corrupt")
            return None
        if persona.version != copy.version:
            self._tell("last_known_good.refused", "wrong_hash")
            return None
        return Kept(persona, max(0.0, self._wall() - copy.saved_at))

    def _save(self, e164: str, persona: Persona, dialed: DialedNumber | None) -> bool:
        copy = _Copy(
            number=e164,
            saved_at=self._wall(),
            version=persona.version,
            raw=persona.raw,
            dialed_as=dialed.dialed_as if dialed else None,
            region=dialed.region if dialed else None,
        ).model_dump_json()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_atomically(self._path(e164), copy.encode())
            if self._writes % self._prune_every == 0:
                self._prune()
            self._writes += 1
        except OSError as exc:
            self._tell("last_known_good.unwritable", _errno_name(exc))
            return False
        return True

    def _delete(self, e164: str | None, before: float | None) -> None:
        try:
            for path in self._directory.glob("*.json") if e164 is None else (self._path(e164),):
                if before is None or path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as exc:
            self._tell("last_known_good.unwritable", _errno_name(exc))

    def _known(self, limit: int) -> list[DialedNumber]:
        try:
            with os.scandir(self._directory) as entries:
                files = [
                    (entry.stat(follow_symlinks=False).st_mtime, entry.path)
                    for entry in entries
                    if entry.name.endswith(".json")
                ]
        except OSError:
            return []
        found = []
        for _, path in heapq.nlargest(limit, files):
            try:
                with Path(path).open("rb") as file:
                    copy = _Copy.model_validate_json(file.read(MAX_BYTES))
            except (OSError, ValidationError):
                continue  # told when the copy is needed
            dialed = read_dialed(copy.dialed_as or copy.number, copy.region)
            found.append(dialed if dialed.number else read_dialed(copy.number, copy.region))
        return found

    def _prune(self) -> None:
        """Remove what a crash left half written, and the oldest copies over the limit."""
        count = 0
        for entry in self._files():
            if entry.name.endswith(".json"):
                count += 1
            elif entry.name.endswith(".tmp") and self._wall() - _written_at(entry) > _ORPHAN_S:
                Path(entry.path).unlink(missing_ok=True)
        if count > self._max_files:  # not before: a list of all of them is 25 MB
            copies = (entry for entry in self._files() if entry.name.endswith(".json"))
            aged = ((_written_at(entry), entry.path) for entry in copies)
            for _, path in heapq.nsmallest(count - self._max_files, aged):
                Path(path).unlink(missing_ok=True)

    def _files(self) -> Iterator["os.DirEntry[str]"]:
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry

    def _tell(self, event: str, reason: str) -> None:
        """Log *event*, at most once a minute."""
        now = self._wall()
        if 0 <= now - self._told_at.get(event, -QUIET_S) < QUIET_S:
            return
        self._told_at[event] = now
        log.error(event, reason=reason)


def _written_at(entry: "os.DirEntry[str]") -> float:
    return entry.stat(follow_symlinks=False).st_mtime


def _errno_name(exc: OSError) -> str:
    return errno.errorcode.get(exc.errno or 0, "unknown")


def _write_atomically(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def forget_copies_with(directory: Path, needles: Collection[str]) -> set[str]:
    """Delete the copies that hold one of *needles*, lower-case texts; return their numbers (E.164).

    Raises:
        OSError: one cannot be deleted.
    """
    found = set()
    for path in directory.glob("*.json"):
        try:
            kept = _Copy.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            continue
        texts = (kept.number.lower(), kept.raw.lower(), (kept.dialed_as or "").lower())
        if any(needle in text for needle in needles for text in texts):
            found.add(kept.number)
            path.unlink(missing_ok=True)
    return found
