"""Workbooks are lists of leads like any other, and are no bombs."""

import contextlib
import io
import time
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import openpyxl  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.campaigns.leads import Lead, read_leads
from router.errors import LeadsRefused

SHEET = "xl/worksheets/sheet1.xml"


def workbook(*rows: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def with_sheet(xml: str) -> bytes:
    """Make a workbook whose sheet is *xml*."""
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook(["phone"]))) as before,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as after,
    ):
        for part in before.infolist():
            content = xml.encode() if part.filename == SHEET else before.read(part)
            after.writestr(part.filename, content)
    return written.getvalue()


def sheet_of(rows: str) -> str:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'


def zipped(parts: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return written.getvalue()


def test_a_workbook_is_read_as_its_csv_is_with_the_same_report() -> None:
    rows: list[list[Any]] = [
        ["Phone", "Prospect Name", "timezone", "Since", None],
        ["+13125550101", "Jörg", "europe/berlin", date(2026, 1, 2), None],
        [13125550102, "Eve", None, datetime(2026, 1, 2, 9, 30), None],  # noqa: DTZ001
        ["(312) 555-0101", "Again", None, True, None],
        [],
        ["4.91E+11", "'=cmd", None, 1.5, None],
    ]
    as_text = [
        ",".join(
            one.isoformat() if isinstance(one, date) else "TRUE" if one is True else str(one or "")
            for one in row
        )
        for row in rows
    ]

    table = read_leads(workbook(*rows), "US")

    same = read_leads("\n".join(as_text).encode(), "US")
    assert (table.columns, table.leads) == (same.columns, same.leads)
    assert [(bad.row, bad.cause, bad.first_row) for bad in table.bad] == [
        (bad.row, bad.cause, bad.first_row) for bad in same.bad
    ]
    assert [(bad.row, bad.cause) for bad in table.bad] == [(4, "duplicate"), (6, "excel_number")]
    assert table.leads[0][1] == Lead(
        phone="+13125550101",
        prospect_name="Jörg",
        timezone="Europe/Berlin",
        variables={"since": "2026-01-02"},
    )


def test_of_a_formula_the_last_result_counts() -> None:
    cells = '<c r="A2" t="str"><f>"+1"&amp;"3125550101"</f><v>+13125550101</v></c>'
    head = '<c r="A1" t="inlineStr"><is><t>phone</t></is></c>'

    table = read_leads(with_sheet(sheet_of(f'<row r="1">{head}</row><row r="2">{cells}</row>')))

    assert [lead.phone for _, lead in table.leads] == ["+13125550101"]


HEAD = '<row r="1"><c r="A1" t="inlineStr"><is><t>phone</t></is></c></row>'
BOMBS = {
    "zeros": zipped({"xl/workbook.xml": bytes(200 * 1024 * 1024)}),
    "parts": zipped({f"part{number}": b"x" for number in range(2_000)}),
    "a_far_row": with_sheet(sheet_of(f'{HEAD}<row r="900000000"><c r="A900000000"/></row>')),
    "a_far_column": with_sheet(sheet_of('<row r="1"><c r="XFD1"><v>1</v></c></row>')),
    "claims_much": with_sheet(
        sheet_of(HEAD).replace("<sheetData>", '<dimension ref="A1:XFD1048576"/><sheetData>')
    ),
    "entities": with_sheet(
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij"))  # noqa: B905
        + "]>"
        + sheet_of('<row r="1"><c r="A1" t="inlineStr"><is><t>&j;</t></is></c></row>')
    ),
    "no_zip": b"PK\x03\x04" + bytes(1_000),
    "no_workbook": zipped({"hello.txt": b"hello"}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_and_rubbish_are_refused_within_a_second(name: str) -> None:
    before = time.process_time()

    with pytest.raises(LeadsRefused) as refused:
        read_leads(BOMBS[name])

    assert refused.value.fix
    assert time.process_time() - before < 1


@given(st.binary(max_size=300), st.integers(0, 5_000))
def test_a_workbook_with_any_bytes_in_it_is_read_or_refused(noise: bytes, place: int) -> None:
    raw = workbook(["phone"], ["+13125550101"])
    broken = raw[: place % len(raw)] + noise + raw[place % len(raw) + len(noise) :]

    with contextlib.suppress(LeadsRefused):
        assert read_leads(broken).leads


def test_progress_is_told_every_thousand_rows() -> None:
    told: list[int] = []
    rows = "".join(f"+1312{number:07}\n" for number in range(5_550_000, 5_552_500))

    read_leads(f"phone\n{rows}".encode(), "US", told.append)

    assert told == [1_000, 2_000]
