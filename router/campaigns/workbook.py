"""The rows of an Excel workbook (.xlsx), each cell as text. Pure: bytes in, rows out.

A workbook is a zip of XML, and both can be bombs. What it claims to hold is added up before
anything of it is unpacked, and a zip reader reads no more of a part than that part has claimed.
"""

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, Final

from router.errors import LeadsRefused

SIGNATURE: Final = b"PK\x03\x04"
MAX_UNPACKED: Final = 128 * 1024 * 1024  # bytes: 100,000 rows of 20 columns have about 80 MiB
MAX_RATIO: Final = 60  # unpacked to packed; sheets have about 10
SMALL: Final = 1024 * 1024  # bytes: of less, the ratio does not matter
MAX_PARTS: Final = 1_000
_MANY: Final = "save the one sheet with the leads as CSV UTF-8"


def is_there() -> bool:
    """Whether workbooks can be read here: the extra is installed."""
    return importlib.util.find_spec("openpyxl") is not None


def rows_of(raw: bytes, *, max_rows: int, max_cells: int, max_chars: int) -> Iterator[list[str]]:
    """Give the rows of the sheet that was open when the workbook was saved, empty ones too.

    Cells are cut behind *max_chars*. Of a formula its last result is read.

    Raises:
        LeadsRefused: it is no workbook, or a bomb, or has more rows or cells in a row than allowed.
    """
    _check(raw)
    try:
        import openpyxl  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra; it has no types
    except ImportError:
        fix = "install the extra: pip install 'persona-router[xlsx]'; or save it as CSV UTF-8"
        raise LeadsRefused("no_workbooks", fix=fix) from None
    try:
        workbook = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
        try:
            sheet = workbook.active
            sheet.reset_dimensions()  # else rows are made as wide, and as many, as it claims
            for row, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                if row > max_rows:
                    raise LeadsRefused("too_many_rows", fix=f"split it: {max_rows:,} lines at most")
                if len(cells) > max_cells:
                    fix = f"row {row} has {len(cells):,} cells"
                    raise LeadsRefused("too_many_columns", fix=fix)
                yield [_text(cell)[:max_chars] for cell in cells]
        finally:
            workbook.close()
    except LeadsRefused:
        raise
    except Exception as exc:  # noqa: BLE001  # whatever a broken file makes of the library
        fix = f"it cannot be read ({type(exc).__name__}); {_MANY}"
        raise LeadsRefused("bad_workbook", fix=fix) from None


def _check(raw: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            parts = packed.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        raise LeadsRefused("bad_workbook", fix=f"it is not a whole workbook; {_MANY}") from None
    unpacked = sum(part.file_size for part in parts)
    bomb = unpacked > SMALL and unpacked > MAX_RATIO * len(raw)
    if bomb or unpacked > MAX_UNPACKED or len(parts) > MAX_PARTS:
        raise LeadsRefused("too_large", fix=f"it unpacks to too much; {_MANY}")


def _text(cell: Any) -> str:
    if cell is None or isinstance(cell, str):
        return (cell or "").replace("\0", "")
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, datetime) and cell.time() == time():  # a day, as spreadsheets keep it
        cell = cell.date()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
