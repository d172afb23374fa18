"""A figure, and the page that all of them end up on."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]  # progress, one line


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, and whether it is what was wanted."""

    name: str
    measured: str
    target: str
    met: bool

    @property
    def verdict(self) -> str:
        return "met" if self.met else "**MISSED**"


def median(values: Sequence[float]) -> float:
    """Return the middle one."""
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that *percent* of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float]) -> str:
    """Return the least and the greatest."""
    return f"{min(values):.2f} to {max(values):.2f} in {len(values)} rounds"


def page(figures: Sequence[Figure], command: str, minutes: float) -> str:
    """Return the page in Markdown."""
    lines = [
        "# Figures",
        "",
        f"Written by `{command}` in {minutes:.1f} min: {machine()}. Ratios are of one run on one",
        "machine, in turns; take others with your own.",
        "",
        "| figure | measured | wanted | |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.measured} | {one.target} | {one.verdict} |" for one in figures),
        "",
    ]
    return "\n".join(lines)


def machine() -> str:
    """Say what it ran on."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {platform.system()}, Python {platform.python_version()}"
