"""What was said and done in one call, in order. Pure: no I/O, the clock is a parameter.

It holds the words of people: it is never logged, only counted.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["persona_applied", "agent", "caller"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: words of the agent or the caller, or (``persona_applied``) a fact in ``detail``."""

    kind: Kind
    at: float  # unix seconds
    text: str = ""
    detail: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, object]:
        """Give the entry as JSON has it; what is empty is left out."""
        document: dict[str, object] = {"kind": self.kind, "at": self.at}
        if self.text:
            document["text"] = self.text
        return {**document, **dict(self.detail)}


@dataclass(slots=True)
class Transcript:
    """Grows while the call goes on; entries are in the order in which they happened."""

    clock: Callable[[], float]  # unix seconds
    _entries: list[Entry] = field(default_factory=list)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries so far."""
        return tuple(self._entries)

    def persona_applied(self, *, version: str, origin: str, because: str = "") -> None:
        """Note which persona speaks from here on, and which source it came from."""
        detail = {"version": version, "origin": origin, "because": because}
        self._entries.append(Entry("persona_applied", self.clock(), detail=tuple(detail.items())))

    def said(self, by: Literal["agent", "caller"], text: str) -> None:
        """Note one utterance; one without words is not an utterance."""
        if text.strip():
            self._entries.append(Entry(by, self.clock(), text=text))

    def to_json(self) -> str:
        """Give all entries as a JSON list, oldest first."""
        return json.dumps([entry.document() for entry in self._entries], ensure_ascii=False)
