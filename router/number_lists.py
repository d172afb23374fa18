"""Reads lists of phone numbers as people keep them: CSV, with a line of names or without. Pure."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from personas.phone import parse

MAX_BYTES: Final = 5 * 1024 * 1024
_NAMES: Final = frozenset({"number", "phone", "phone_number", "telephone", "msisdn", "telefon"})


@dataclass(frozen=True, slots=True)
class NumberList:
    """The numbers of a list, E.164, each once, and the lines that hold none."""

    numbers: tuple[str, ...]
    bad_lines: tuple[int, ...]  # the first is 1


def read_numbers(raw: bytes, region: str | None) -> NumberList:
    """Read the column that is named as a number is, else the first; *region* is the home region."""
    text = raw.decode("utf-8-sig", errors="replace").replace("\0", "")
    found: dict[str, None] = {}
    bad: list[int] = []
    column: int | None = None
    for line, cells in _rows(text):
        if column is None:
            named = [at for at, cell in enumerate(cells) if _name(cell) in _NAMES]
            column = named[0] if named else 0
            if named:
                continue
        cell = cells[column] if column < len(cells) else ""
        number = parse(cell.strip().removeprefix("'"), region)  # a quote guards it in spreadsheets
        if number is None:
            bad.append(line)
        else:
            found[number.e164] = None
    return NumberList(tuple(found), tuple(bad))


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give the cells of each row that is not empty, and in which line it ends."""
    first, _, _ = text.partition("\n")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a cell of more than 128 KiB
            cells = ["?"]
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _name(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_")
