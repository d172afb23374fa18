"""``python -m tests.faults [scenario …] [--quick]``: run them and their controls, write FAULTS.md.

Progress goes to stderr. Exit code 1: something did not hold, or a control was not caught.
"""

import argparse
import asyncio
import importlib
import logging
import pkgutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import tests.faults
from router.demo import binary
from router.demo.settings import DemoSettings
from tests.bench.report import machine
from tests.faults.scenario import Ground, Run, Scenario, Seen, Size

PAGE = Path("FAULTS.md")


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario or (``control``) a variant that must be caught, and what it showed."""

    scenario: Scenario
    control: str
    seen: Seen
    minutes: float

    @property
    def good(self) -> bool:
        return self.seen.holds is not bool(self.control)

    @property
    def verdict(self) -> str:
        if self.control:
            return "caught" if self.good else "**NOT CAUGHT**"
        return "holds" if self.good else "**BROKEN**"


def scenarios() -> list[Scenario]:
    """Collect them from the modules of this package, in the order of the modules' names."""
    found: list[Scenario] = []
    for module in sorted(module.name for module in pkgutil.iter_modules(tests.faults.__path__)):
        if not module.startswith(("__", "test_")):
            found += getattr(importlib.import_module(f"tests.faults.{module}"), "SCENARIOS", ())
    return found


def say(line: str) -> None:
    """Show progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def run(scenario: Scenario, work: Run, control: str, size: Size, folder: Path) -> Row:
    """Run one of them in a folder and an event loop of its own."""
    say(f"== {scenario.name}{f' · control: {control}' if control else ''}")
    started = time.monotonic()
    folder.mkdir(parents=True)
    ground = Ground(
        folder=folder,
        size=size,
        say=lambda line: say(f"   {line}"),
        livekit_server=binary.find(DemoSettings.load()),
    )
    try:
        seen = asyncio.run(work(ground))
    except Exception as exc:  # noqa: BLE001 - the others are run all the same
        traceback.print_exc()
        seen = Seen(holds=bool(control), figures=f"stopped by {type(exc).__name__}: {exc}")  # bad
    row = Row(scenario, control, seen, (time.monotonic() - started) / 60)
    say(f"   {row.verdict}: {seen.figures} ({row.minutes:.1f} min)")
    return row


HEAD = (
    "# Faults",
    "",
    "Written by `make faults`, or a row at a time by `make faults ARGS=<scenario>`. A control is a",
    "variant that is known to be bad; its row is good when the check caught it.",
    "",
    "| fault | must show | seen | | minutes, on |",
    "|---|---|---|---|---|",
)


def lines_of(row: Row) -> str:
    """Return a row of the page."""
    fault, must = row.scenario.fault, row.scenario.must
    if row.control:
        fault, must = f"— control: {row.control}", "is caught"
    where = f"{row.minutes:.1f}, {machine()}"
    return f"| {fault} | {must} | {row.seen.figures} | {row.verdict} | {where} |"


def written(text: str, known: list[Scenario]) -> dict[str, list[str]]:
    """Read a page: the rows of each scenario that is still known, by its name."""
    by_fault = {one.fault: one.name for one in known}
    rows: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        cells = line.split(" | ")
        if line.startswith("| — control: "):
            rows.setdefault(name, []).append(line)
        elif line.startswith("| ") and cells[0] != "| fault":
            name = by_fault.get(cells[0].removeprefix("| "), "")
            rows[name] = [line]
    rows.pop("", None)
    return rows


def page(rows: dict[str, list[str]], known: list[Scenario]) -> str:
    """Return the page in Markdown, in the order of the scenarios."""
    return "\n".join([*HEAD, *(line for one in known for line in rows.get(one.name, ())), ""])


def main() -> int:
    """Run."""
    known = scenarios()
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("scenario", nargs="*", help="default: all of them")
    parser.add_argument("--quick", action="store_true", help="the sizes of `make test`")
    parser.add_argument("--list", action="store_true", help="name them, run nothing")
    asked = parser.parse_args()
    names = [scenario.name for scenario in known]
    if asked.list:
        sys.stdout.write("".join(f"{one.name}\t{one.fault}\n" for one in known))
        return 0
    if unknown := sorted(set(asked.scenario) - set(names)):
        parser.error(f"no scenario {', '.join(unknown)}; --list names them")
    chosen = [one for one in known if not asked.scenario or one.name in asked.scenario]
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # native: what it frees itself
    size: Size = "quick" if asked.quick else "full"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for one in chosen:
            rows.append(run(one, one.run, "", size, Path(folder, one.name, "itself")))
            for control in one.controls:
                own = Path(folder, one.name, control.name)
                rows.append(run(one, control.run, control.bad, size, own))
    lines: dict[str, list[str]] = {}
    for row in rows:
        lines.setdefault(row.scenario.name, []).append(lines_of(row))
    if size == "full":
        before = written(PAGE.read_text(encoding="utf-8"), known) if PAGE.exists() else {}
        PAGE.write_text(page(before | lines, known), encoding="utf-8")
    sys.stdout.write(page(lines, known))
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
