"""A fault, what must hold while it lasts, and what was seen.

A module of scenarios is ``tests/faults/<name>.py`` with a tuple ``SCENARIOS``. Each has a size for
``make faults`` and a small one for ``make test``, and negative controls: variants that are known to
be bad, which the same check must catch.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Size: TypeAlias = Literal["quick", "full"]
Say: TypeAlias = Callable[[str], None]  # progress, one line


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run showed."""

    holds: bool
    figures: str  # one sentence of numbers: "100,000 forged: 0 accepted; 10,000 valid: all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a scenario runs."""

    folder: Path  # its own, empty
    size: Size
    say: Say
    livekit_server: Path | None  # the program; None where there is none


Run: TypeAlias = Callable[[Ground], Coroutine[Any, Any, Seen]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of FAULTS.md."""

    name: str  # snake_case, unique
    fault: str  # what is broken
    must: str  # what must show
    run: Run
    controls: tuple["Control", ...] = ()
    quick: bool = True  # part of ``make test``
    needs_livekit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A known-bad variant: the same check must find ``holds`` false."""

    name: str
    bad: str  # what is wrong with it: "looks whether there is a dispatch before it creates one"
    run: Run
