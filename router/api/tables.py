"""Lists as CSV, which a spreadsheet may open without running anything in them. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.cells import guarded


def csv_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write *rows* as RFC 4180 has them, with a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row.get(name)) for name in columns])
    return text.getvalue()


def cell(value: Any) -> str:
    """Write one value: nothing for None, and text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return guarded(str(value))
