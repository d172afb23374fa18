"""Events on disk until the router has them: one append-only file for each call and attempt.

A line is a checksum and an event as the wire has it; the first line says where the events go. What
a crash left of a line is not read. Who writes a file, or resends it, holds its lock, which ends
with the process however that ends. The functions block: they are run in threads.
"""

import fcntl
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personas.reports import AnyCallEvent, read_event

SUFFIX: Final = ".spool"
BEGUN: Final = ".begun"  # not a spool file yet; one that a crash left holds no event
MAX_FILE_BYTES: Final = 32 * 1024 * 1024
_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")


class Address(BaseModel):
    """Whose events these are, and where they go."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    call_id: str = Field(min_length=1)
    attempt: int = Field(ge=1)
    url: str
    token: str = Field(repr=False)


@dataclass(frozen=True, slots=True)
class Spooled:
    """What a file holds."""

    address: Address
    events: tuple[AnyCallEvent, ...]
    unreadable: int  # lines that were damaged; a torn last one is not counted


class SpoolFile:
    """A file that is locked by this process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size

    @classmethod
    def create(cls, folder: Path, address: Address) -> Self:
        """Begin the file of an attempt; raises ``OSError``, also when there is one already."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{_NAME.sub('_', address.call_id)[:80]}.{address.attempt}"
        new, path = folder / f"{name}.{os.getpid()}{BEGUN}", folder / f"{name}{SUFFIX}"
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = cls(path, fd)
            file._write(_line(address.model_dump_json()))
            os.link(new, path)  # it appears with its lock held and its first line whole
        except BaseException:
            os.close(fd)
            raise
        finally:
            new.unlink()
        _sync_folder(folder)
        return file

    @classmethod
    def take_over(cls, path: Path) -> Self | None:
        """Lock a file whose writer is gone; None: it is not, or the file is."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if os.fstat(fd).st_nlink == 0:  # removed between the two
            os.close(fd)
            return None
        return cls(path, fd)

    def append(self, events: Iterable[AnyCallEvent]) -> None:
        """Write *events* to the disk itself; raises ``OSError``."""
        text = b"".join(_line(event.model_dump_json()) for event in events)
        if self._size + len(text) > MAX_FILE_BYTES:
            raise OSError("the file of this call is full")
        self._write(text)

    def _write(self, text: bytes) -> None:
        before = self._size
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, before)  # half a line would spoil the next one
            raise
        self._size += len(text)

    def read(self) -> Spooled | None:
        """Return what is there; None: it does not even say whose it is."""
        lines = list(_lines(self.path.read_bytes()))
        try:
            address = Address.model_validate_json(lines[0] or b"")
        except (IndexError, ValidationError):
            return None
        events, unreadable = [], 0
        for line in lines[1:]:
            try:
                events.append(read_event(line or b""))
            except ValidationError:
                unreadable += 1
        return Spooled(address, tuple(events), unreadable)

    def remove(self) -> None:
        """Delete it: the router has everything."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Leave it to whoever resends."""
        os.close(self._fd)


def files_in(folder: Path) -> list[Path]:
    """Return the files of *folder*, oldest first."""
    ages = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # acknowledged in this moment
            ages.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(ages)]


def _line(text: str) -> bytes:
    content = text.encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _lines(raw: bytes) -> Iterator[bytes | None]:
    """Give the content of each line, None for a damaged one; a torn last line is no line."""
    for line in raw.split(b"\n")[:-1]:
        checksum, _, content = line.partition(b" ")
        yield content if checksum == b"%08x" % zlib.crc32(content) else None


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
