"""``python -m tests.bench [figure …]``: measure, print the page, write BENCH.md.

Progress goes to stderr. A figure that misses its target is said to be MISSED; the exit code is 0.
"""

import argparse
import asyncio
import importlib
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.bench.report import Figure, page

FIGURES = ("verification", "deliveries", "ring", "memory", "sweep", "first_word", "rows", "leads")
PAGE = Path("BENCH.md")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def _measure(names: list[str], folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    for name in names:
        _say(f"== {name}")
        module = importlib.import_module(f"tests.bench.{name}")
        own = folder / name
        own.mkdir()
        figures += await module.measure(own, lambda line: _say(f"   {line}"))
    return figures


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("figure", nargs="*", choices=[*FIGURES, []], help="default: all of them")
    chosen = parser.parse_args().figure
    names = [name for name in FIGURES if name in chosen] or list(FIGURES)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        figures = runner.run(_measure(names, Path(folder)))
    text = page(figures, "make bench", (time.monotonic() - started) / 60)
    if names == list(FIGURES):
        PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
