"""What the caller told in this call, so that the model can ask for it again. Pure.

The agent keeps facts by it, and the router, when it tries the agent's tools for nobody.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_FACTS: Final = 500
MAX_SHOWN: Final = 50
MAX_INFORMATION_CHARS: Final = 4_000
DEFAULT_CATEGORY: Final = "conversation_flow"

NOTHING_YET: Final = "Nothing has been written down yet."


@dataclass(frozen=True, slots=True)
class KnownFact:
    """One thing that was told."""

    category: str
    information: str


@dataclass(slots=True)
class Facts:
    """Grows while the call goes on; the oldest give way."""

    _known: list[KnownFact] = field(default_factory=list)
    _noted: int = 0

    @property
    def count(self) -> int:
        """How many were noted in this call by this agent."""
        return self._noted

    def recall(self, memory: Iterable[Any]) -> None:
        """Take what an earlier agent or an earlier call left; what cannot be read is left out."""
        for item in memory:
            if isinstance(item, Mapping) and isinstance(item.get("information"), str):
                category = item.get("category")
                self._known.append(
                    KnownFact(
                        category if isinstance(category, str) else DEFAULT_CATEGORY,
                        item["information"],
                    )
                )

    def note(self, fact: KnownFact) -> bool:
        """Add *fact*; ``False``: it is known already."""
        if fact in self._known:
            return False
        self._known.append(fact)
        self._noted += 1
        del self._known[:-MAX_FACTS]
        return True

    def matching(self, category: str | None, limit: int) -> tuple[KnownFact, ...]:
        """Give the latest facts of *category*, or of all, the newest first."""
        found = [fact for fact in reversed(self._known) if category in (None, "", fact.category)]
        return tuple(found[: max(1, min(limit, MAX_SHOWN))])


def write_down(
    facts: Facts, information: str, category: str, categories: Collection[str]
) -> tuple[KnownFact | None, str]:
    """Add what was told, if it is new; return the fact, and what the model hears.

    A *category* that is not among *categories* becomes the default one.
    """
    words = " ".join(information.split())[:MAX_INFORMATION_CHARS]
    if not words:
        return None, "There was nothing to write down."
    fact = KnownFact(category if category in categories else DEFAULT_CATEGORY, words)
    if not facts.note(fact):
        return None, "That was written down already."
    return fact, "Written down."


def read_back(facts: Facts, category: str | None, limit: int) -> list[str]:
    """Return a line for each fact of *category*, or of all, the newest first."""
    return [f"- {fact.information} ({fact.category})" for fact in facts.matching(category, limit)]
