"""Lists of leads as spreadsheets write them: bytes in, leads and a report of the rest out. Pure.

CSV or a workbook: both become rows of text, and from there on it is one way.

It reads and writes no files, and keeps nothing. What is wrong with a row is said for that row; what
makes the whole file unreadable is ``LeadsRefused``. Every limit is checked before work is spent.
"""

import csv
import io
import re
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from personas.phone import parse
from router.campaigns import workbook
from router.cells import guarded, unguarded
from router.errors import LeadsRefused

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_ROWS: Final = 100_000
MAX_VARIABLES: Final = 93  # columns beside ours
MAX_CELL_CHARS: Final = 2_000
MAX_NAME_CHARS: Final = 60  # of a column
MAX_LINE_CHARS: Final = 512 * 1024
MAX_CELLS: Final = 1_000  # of a row, before it is looked at
MAX_LINES: Final = 500_000  # cells may hold line breaks
TOLD_ROWS: Final = 1_000  # between two words of progress

COLUMNS: Final = (
    "prospect_name",
    "company_name",
    "job_title",
    "phone",
    "email",
    "timezone",
    "resource_name",
)
#: What ``bad.csv`` says about a row; not a variable when the file comes back.
REPORT_COLUMNS: Final = ("import_row", "import_cause", "import_fix")

Cause: TypeAlias = Literal[
    "no_number",
    "excel_number",
    "bad_number",
    "duplicate",
    "bad_timezone",
    "too_long",
    "too_many_cells",
]
FIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no_number": "fill in the phone number",
        "excel_number": "the spreadsheet has rounded the number; format the column as text",
        "bad_number": "write the number with its country code, as +4930901820",
        "duplicate": "remove the row, or the other one with this number",
        "bad_timezone": "write the time zone as Europe/Berlin or America/Chicago, or leave it out",
        "too_long": f"shorten the cell to {MAX_CELL_CHARS} characters",
        "too_many_cells": "the row has more cells than there are columns; put quotes around them",
    }
)

_DELIMITERS: Final = (",", ";", "\t")
_ROUNDED = re.compile(r"'?\+?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_FLOAT = re.compile(r"'?\+?\d{6,}[.,]0")  # its last zero would become a digit of the number


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Somebody to call; cells that are empty are ``""``."""

    phone: str  # E.164
    prospect_name: str = ""
    company_name: str = ""
    job_title: str = ""
    email: str = ""
    timezone: str = ""  # IANA, as Europe/Berlin
    resource_name: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)  # the further columns, none empty


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no lead."""

    row: int  # as a spreadsheet numbers it: the names of the columns are row 1
    cause: Cause
    cells: tuple[str, ...]
    first_row: int | None = None  # of a duplicate: the row that counts


@dataclass(frozen=True, slots=True)
class LeadTable:
    """What a file holds."""

    columns: tuple[str, ...]  # all of the file's, under their names here
    leads: tuple[tuple[int, Lead], ...]  # with their row numbers
    bad: tuple[BadRow, ...]


def read_leads(
    raw: bytes,
    region: str | None = None,
    progress: Callable[[int], None] = lambda _rows: None,
) -> LeadTable:
    """Read a CSV file or a workbook; numbers without a country code belong to *region* (``US``).

    *progress* is told now and then how many rows were read.

    Raises:
        LeadsRefused: the file as a whole cannot be read.
    """
    columns, rows = _table(raw)
    leads: list[tuple[int, Lead]] = []
    bad: list[BadRow] = []
    rows_by_number: dict[str, int] = {}
    for row, cells in rows:
        if row % TOLD_ROWS == 0:
            progress(row)
        if row == 1 or not any(cells):
            continue
        if len(leads) + len(bad) >= MAX_ROWS:
            raise LeadsRefused("too_many_rows", fix=f"split it: {MAX_ROWS:,} rows at most")
        found = _lead(columns, cells, region)
        if isinstance(found, str):
            bad.append(BadRow(row, found, cells))
        elif (first_row := rows_by_number.setdefault(found.phone, row)) != row:
            bad.append(BadRow(row, "duplicate", cells, first_row))
        else:
            leads.append((row, found))
    if not leads:
        fix = (
            f"row {bad[0].row}: {FIXES[bad[0].cause]}" if bad else "there is no row under the names"
        )
        raise LeadsRefused("no_leads", fix=fix)
    return LeadTable(columns, tuple(leads), tuple(bad))


def write_leads(leads: Iterable[Lead]) -> str:
    """Write *leads* as CSV; ``read_leads`` reads the same out of it."""
    listed = tuple(leads)
    names = sorted({name for lead in listed for name in lead.variables})
    return _csv(
        (*COLUMNS, *names),
        (
            [*(getattr(lead, name) for name in COLUMNS), *map(lead.variables.get, names)]
            for lead in listed
        ),
    )


def write_bad(table: LeadTable) -> str:
    """Write the rows that are no leads, each with its cause: to be put right and read again."""
    width = len(table.columns)
    return _csv(
        (*table.columns, *REPORT_COLUMNS),
        (
            [*(bad.cells + ("",) * width)[:width], bad.row, bad.cause, FIXES[bad.cause]]
            for bad in table.bad
        ),
    )


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(str(cell)) if cell is not None else "" for cell in row])
    return text.getvalue()


_Rows: TypeAlias = Iterator[tuple[int, tuple[str, ...]]]  # with their numbers, from 1


def _table(raw: bytes) -> tuple[tuple[str, ...], _Rows]:
    """Find the names of the columns, and give the rows, with or without that of the names."""
    if len(raw) > MAX_BYTES:
        raise LeadsRefused("too_large", fix=f"split it: {MAX_BYTES // 1024 // 1024} MiB at most")
    if raw.startswith(workbook.SIGNATURE):
        rows = _workbook_rows(raw)
        _, names = next(rows, (1, ()))
        return _columns(tuple(map(_column, names))), rows
    text = _text(raw)
    delimiter, columns = _header(text)
    return columns, _rows(text, delimiter)


def _workbook_rows(raw: bytes) -> _Rows:
    """Read a workbook as if it had been saved as CSV, quotes and all."""
    rows = workbook.rows_of(
        raw, max_rows=2 * MAX_ROWS, max_cells=MAX_CELLS, max_chars=MAX_CELL_CHARS + 1
    )
    for row, cells in enumerate(rows, 1):
        yield row, _cells(cells)


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise LeadsRefused(
            "not_text", fix="save it as CSV UTF-8 or as .xlsx, not as .xls or as Unicode"
        )
    if raw.count(b"\n") + raw.count(b"\r") > MAX_LINES:
        raise LeadsRefused("too_many_rows", fix=f"split it: {MAX_ROWS:,} rows at most")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            raise LeadsRefused("bad_encoding", fix="save it as CSV UTF-8") from None
    # Before it is cut into cells: a line of commas would be ten million of them.
    if max(map(len, text.replace("\r", "\n").split("\n"))) > MAX_LINE_CHARS:
        fix = f"a line has {MAX_LINE_CHARS:,} characters at most; check the quotes"
        raise LeadsRefused("line_too_long", fix=fix)
    return text


def _header(text: str) -> tuple[str, tuple[str, ...]]:
    """Find the delimiter under which most columns are known, and the columns' names."""
    found, refused = [], []
    for delimiter in _DELIMITERS:
        try:
            _, cells = next(_rows(text, delimiter), (1, ()))
        except LeadsRefused as exc:
            refused.append(exc)
            continue
        names = tuple(_column(cell) for cell in cells)
        found.append((len(set(names) & set(COLUMNS)), delimiter, names))
    if not found:
        raise refused[0]
    _, delimiter, names = max(found, key=lambda one: one[0])  # the first of equals
    return delimiter, _columns(names)


def _columns(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check the names of the columns."""
    while names and not names[-1]:  # spreadsheets leave delimiters behind the last column
        names = names[:-1]
    if "phone" not in names:
        fix = "the first row names the columns, and one of them is phone; between them , ; or tab"
        raise LeadsRefused("no_phone_column", fix=fix)
    if len(set(names) - set(COLUMNS)) > MAX_VARIABLES:
        raise LeadsRefused("too_many_columns", fix=f"{MAX_VARIABLES} columns beside ours at most")
    for number, name in enumerate(names, 1):
        if not name or len(name) > MAX_NAME_CHARS or names.count(name) > 1:
            fix = f"column {number} needs a name of its own, {MAX_NAME_CHARS} characters at most"
            raise LeadsRefused("bad_column", fix=fix)
    return names


def _rows(text: str, delimiter: str) -> _Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0
    try:
        for row, cells in enumerate(reader, 1):
            if len(cells) > MAX_CELLS:
                fix = f"row {row} has {len(cells):,} cells"
                raise LeadsRefused("too_many_columns", fix=fix)
            yield row, _cells(cells)
    except csv.Error:
        fix = f"row {row + 1} has a quote that does not end, or one too many"
        raise LeadsRefused("bad_csv", fix=fix) from None


def _cells(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(unguarded(cell.strip()).strip() for cell in cells)


def _column(cell: str) -> str:
    return re.sub(r"[\s_.-]+", "_", cell).strip("_").lower()


def _lead(columns: Sequence[str], cells: Sequence[str], region: str | None) -> Lead | Cause:
    if any(cells[len(columns) :]):
        return "too_many_cells"
    if any(len(cell) > MAX_CELL_CHARS for cell in cells):
        return "too_long"
    by_column = dict(zip(columns, cells, strict=False))
    number, cause = _number(by_column.get("phone", ""), region)
    if cause is not None:
        return cause
    zone = by_column.get("timezone", "")
    if zone and not (zone := _zones().get(zone.casefold(), "")):
        return "bad_timezone"
    known = {name: by_column.get(name, "") for name in COLUMNS}
    variables = {
        name: cell
        for name, cell in by_column.items()
        if cell and name not in COLUMNS and name not in REPORT_COLUMNS
    }
    return Lead(**{**known, "phone": number, "timezone": zone}, variables=variables)


def _number(cell: str, region: str | None) -> tuple[str, Cause | None]:
    if not cell:
        return "", "no_number"
    if _ROUNDED.fullmatch(cell) or _FLOAT.fullmatch(cell):
        return "", "excel_number"
    parsed = parse(cell, region)
    return ("", "bad_number") if parsed is None else (parsed.e164, None)


@lru_cache(maxsize=1)
def _zones() -> Mapping[str, str]:
    """Give the names of all time zones, as they are written, by themselves in lower case."""
    return {name.casefold(): name for name in zoneinfo.available_timezones()}
