"""Personas in files: ``PERSONA_DIR/<number>.yaml``, read as they change, and the house persona.

Every read happens in a thread: the folder may be a network mount that hangs, and the event loop
answers other calls meanwhile. What was read is kept with the file's time, size and inode, so an
unchanged file costs one ``stat``.
"""

import asyncio
import re
import stat
import threading
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import structlog
import yaml
from cachetools import LRUCache

from personas.errors import PersonaInvalid
from personas.json_text import check_shape, parse_object
from personas.model import Persona
from personas.phone import PhoneNumber, parse

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

SUFFIXES: Final = (".yaml", ".yml", ".json")
HOUSE: Final = "house"
MAX_FILE_BYTES: Final = 256 * 1024
MAX_KEPT: Final = 1024

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"\+?[0-9]{7,15}")
_Signature = tuple[int, int, int]


def read_document(path: Path) -> dict[str, Any]:
    """Read the document in a YAML or JSON file, whatever its fields.

    Raises:
        PersonaInvalid: it cannot be read or parsed; the message gives the line and no content.
    """
    text = _read_text(path)
    if path.suffix == ".json":
        return parse_object(text)[1]
    return _from_yaml(text)


def read_persona(path: Path) -> Persona:
    """Read the persona in a YAML or JSON file; of JSON, every byte is kept.

    Raises:
        PersonaInvalid: it cannot be read, or is no persona; the message holds no content.
    """
    text = _read_text(path)
    if path.suffix == ".json":
        return Persona.from_json(text)
    return Persona.from_document(_from_yaml(text))


def _read_text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PersonaInvalid("it is not a file", reason="not_a_file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise PersonaInvalid(f"cannot read it: {exc.strerror}", reason="unreadable") from exc
    if len(content) > MAX_FILE_BYTES:
        raise PersonaInvalid("it is larger than 256 KiB", reason="too_large")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PersonaInvalid("the text is not UTF-8", reason="not_utf8") from exc


def _from_yaml(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)  # not the loader in C: deep nesting overruns its stack
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f" at line {mark.line + 1}" if mark else ""
        raise PersonaInvalid(f"the text is not YAML{where}", reason="not_yaml") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise PersonaInvalid("the text is not YAML", reason="not_yaml") from None
    if not isinstance(document, dict):
        raise PersonaInvalid("the document is not a mapping of fields", reason="not_an_object")
    check_shape(document)
    return document


def shipped(name: str) -> Persona:
    """Read a persona that ships with the package, by its id (``house``).

    Raises:
        PersonaInvalid: there is none of that id.
    """
    with resources.as_file(resources.files("personas") / "library" / f"{name}.yaml") as path:
        return read_persona(path)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a file held when it had this signature."""

    signature: _Signature
    persona: Persona | None  # the last good one
    problem: PersonaInvalid | None  # why the file as it is now cannot be used


class FilePersonaSource:
    """Reads the personas of a folder; a file that breaks leaves its last good version in use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: LRUCache[str, _Read] = LRUCache(MAX_KEPT)
        self._told: LRUCache[str, tuple[str, ...]] = LRUCache(MAX_KEPT)
        self._lock = threading.Lock()

    async def find(self, number: PhoneNumber) -> Persona | None:
        """Find the persona of *number*: ``+<digits>`` or ``<digits>``, .yaml, .yml or .json.

        Raises:
            PersonaInvalid: the file is broken and never was good.
        """
        stems = (number.e164, number.digits)
        return await asyncio.to_thread(self._find, stems)

    async def by_id(self, persona_id: str) -> Persona | None:
        """Find ``<persona_id>.yaml``, .yml or .json; an id has letters, digits, ``_`` and ``-``.

        Raises:
            PersonaInvalid: the file is broken and never was good.
        """
        if not _ID.fullmatch(persona_id):
            return None
        return await asyncio.to_thread(self._find, (persona_id,))

    async def numbers(self, limit: int) -> list[PhoneNumber]:
        """List numbers that have a file, at most *limit*."""
        return await asyncio.to_thread(self._numbers, limit)

    def _numbers(self, limit: int) -> list[PhoneNumber]:
        try:
            stems = sorted(
                {path.stem for path in self._directory.iterdir() if path.suffix in SUFFIXES}
            )
        except OSError:
            return []
        named = (parse(f"+{stem.removeprefix('+')}") for stem in stems if _NUMBER.fullmatch(stem))
        return list(dict.fromkeys(number for number in named if number))[:limit]

    async def house(self) -> Persona:
        """Give the folder's house persona if it can be used, else the one that ships."""
        return await asyncio.to_thread(self.house_now)

    def house_now(self) -> Persona:
        """Give the house persona, reading in this thread."""
        try:
            found = self._find((HOUSE,))
        except PersonaInvalid:
            found = None
        return found or shipped(HOUSE)

    def _find(self, stems: tuple[str, ...]) -> Persona | None:
        with self._lock:
            there: list[tuple[str, _Signature]] = []
            for name in (stem + suffix for stem in stems for suffix in SUFFIXES):
                if signature := _signature(self._directory / name):
                    there.append((name, signature))
                else:
                    self._kept.pop(name, None)
            self._tell_doubles(stems[0], tuple(name for name, _ in there))
            return self._load(*there[0]) if there else None

    def _tell_doubles(self, stem: str, names: tuple[str, ...]) -> None:
        if len(names) > 1 and self._told.get(stem) != names:
            log.error("persona_file.doubled", files=names, used=names[0], fix="remove the others")
        self._told[stem] = names

    def _load(self, name: str, signature: _Signature) -> Persona | None:
        kept = self._kept.get(name)
        if kept is None or kept.signature != signature:
            kept = self._kept[name] = self._read(name, signature, kept)
        if kept.persona is None and kept.problem is not None:
            raise PersonaInvalid(str(kept.problem), reason=kept.problem.reason)
        return kept.persona

    def _read(self, name: str, signature: _Signature, before: _Read | None) -> _Read:
        try:
            return _Read(signature, read_persona(self._directory / name), None)
        except PersonaInvalid as exc:
            last_good = before.persona if before else None
            log.error(
                "persona_file.refused",
                file=name,
                reason=exc.reason,
                problem=str(exc),
                last_good=last_good is not None,
            )
            return _Read(signature, last_good, exc)


def _signature(path: Path) -> _Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def house(directory: Path | None) -> Persona:
    """Give ``house.yaml`` of *directory* if it can be used, else the one that ships."""
    return FilePersonaSource(directory).house_now() if directory else shipped(HOUSE)
