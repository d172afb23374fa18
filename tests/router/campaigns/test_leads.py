"""What spreadsheets write, and what becomes of it."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.campaigns.leads import COLUMNS, Lead, read_leads, write_bad, write_leads
from router.errors import LeadsRefused

TEXT = "Phone,Prospect Name\r\n+13125550101,Ann\r\n"


def only(raw: bytes, region: str | None = "US") -> Lead:
    table = read_leads(raw, region)
    assert not table.bad
    return table.leads[0][1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_come_in_any_order_any_case_and_between_any_delimiter(delimiter: str) -> None:
    rows = [
        ["E-MAIL 2", "Time Zone", "timezone", "PHONE", "Prospect-Name", "favourite colour"],
        ["a@example.org", "", "europe/berlin", "030 901820", "Jörg", "blau"],
    ]
    raw = "\n".join(delimiter.join(row) for row in rows).encode()

    assert only(raw, "DE") == Lead(
        phone="+4930901820",
        prospect_name="Jörg",
        timezone="Europe/Berlin",
        variables={"e_mail_2": "a@example.org", "favourite_colour": "blau"},
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_umlauts_survive_each_encoding(encoding: str) -> None:
    raw = "phone,prospect_name\n+4930901820,Jörg Größe\n".encode(encoding)

    assert only(raw).prospect_name == "Jörg Größe"


@pytest.mark.parametrize(
    ("cell", "cause"),
    [
        ("", "no_number"),
        ("12", "bad_number"),
        ("call me", "bad_number"),
        ("4.91E+11", "excel_number"),
        ("4,91E+11", "excel_number"),
        ("13125550102.0", "excel_number"),
        ("(312) 555-0101", "duplicate"),
        ("0013125550101", "duplicate"),
        ("'+1 312 555 0101", "duplicate"),
    ],
)
def test_a_bad_row_is_reported_with_its_row_number_and_cause(cell: str, cause: str) -> None:
    table = read_leads(f'{TEXT}"{cell}",Bob\r\n'.encode(), "US")

    assert [(bad.row, bad.cause) for bad in table.bad] == [(3, cause)]
    assert table.bad[0].first_row == (2 if cause == "duplicate" else None)
    assert len(table.leads) == 1


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("+13125550102,Bob,Mars/Phobos", "bad_timezone"),
        ("+13125550102,Bob,,more", "too_many_cells"),
        ("+13125550102," + "x" * 2001, "too_long"),
    ],
)
def test_other_cells_are_checked_too(row: str, cause: str) -> None:
    raw = f"phone,prospect_name,timezone\n+13125550101\n\n,,\n{row}\n".encode()

    assert [(bad.row, bad.cause) for bad in read_leads(raw).bad] == [(5, cause)]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no_phone_column"),
        (b"name,number\na,b\n", "no_phone_column"),
        (b"phone\n", "no_leads"),
        (b"phone\nnobody\n", "no_leads"),
        (b"phone,a,a\n1,2,3\n", "bad_column"),
        (b"phone,,a\n1,2,3\n", "bad_column"),
        (b'phone\n"+13125550101\n', "bad_csv"),
        (b"phone\n+1312\x005550101\n", "not_text"),
        ("phone\n+13125550101\n".encode("utf-16"), "not_text"),
        (b"PK\x03\x04" + bytes(100), "bad_workbook"),
        (b"phone\n\x81\x8d\n", "bad_encoding"),
        (b"phone" + b"," * 1_000_000, "line_too_long"),
        (b"phone" + b"".join(b",c%d" % one for one in range(50_000)), "too_many_columns"),
        (b"phone\n+13125550101" + b"," * 500_000 + b"\n", "too_many_columns"),
        (b"phone" + b"".join(b",c%d" % one for one in range(94)), "too_many_columns"),
        (b"phone\n" + b"x\n" * 100_001, "too_many_rows"),
        (b"phone\n" + b"\n" * 5_000_000, "too_many_rows"),
        (b"x" * (10 * 1024 * 1024 + 1), "too_large"),
        (b'phone\n"' + b'"' * 5_000_000, "line_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_list_is_refused_within_a_second(raw: bytes, reason: str) -> None:
    before = time.process_time()

    with pytest.raises(LeadsRefused) as refused:
        read_leads(raw, "US")

    assert refused.value.reason == reason
    assert refused.value.fix
    if reason != "too_many_rows" or len(raw) > 1_000_000:  # rows are read until there are too many
        assert time.process_time() - before < 1


def test_bad_rows_can_be_put_right_and_read_again() -> None:
    table = read_leads(f"{TEXT}=cmd|x,Bob\r\n".encode(), "US")
    written = write_bad(table)
    assert "'=cmd|x,Bob,3,bad_number," in written

    again = read_leads(written.replace("'=cmd|x", "312 555 0102").encode(), "US")

    assert [lead for _, lead in again.leads] == [Lead(phone="+13125550102", prospect_name="Bob")]


def test_no_exported_cell_is_a_formula() -> None:
    text = write_leads(
        [Lead(phone="+13125550101", prospect_name="=1+1", email="@x", job_title="-")]
    )

    assert text.splitlines()[1] == "'=1+1,,'-,'+13125550101,'@x,,"


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30).map(
    str.strip
) | st.sampled_from(["=1", "'=1", "''+x", "'", '"', "a\r\nb", "a,b;c\td", "'\tx"])
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8})?", fullmatch=True).filter(
    lambda name: name not in COLUMNS
)
LEADS = st.builds(
    Lead,
    phone=st.integers(0, 99).map(lambda number: f"+131255501{number:02}"),
    prospect_name=CELLS,
    company_name=CELLS,
    job_title=CELLS,
    email=CELLS,
    resource_name=CELLS,
    timezone=st.sampled_from(["", "Europe/Berlin", "America/Chicago"]),
    variables=st.dictionaries(NAMES, CELLS.filter(bool), max_size=5),
)


@given(st.lists(LEADS, min_size=1, max_size=8, unique_by=lambda lead: lead.phone))
@settings(max_examples=300)
def test_what_is_exported_is_imported_the_same(leads: list[Lead]) -> None:
    table = read_leads(write_leads(leads).encode("utf-8-sig"))

    assert [lead for _, lead in table.leads] == leads
    assert not table.bad


@given(st.binary(max_size=300).map(lambda tail: b"phone,x\n+13125550101,1\n" + tail))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(LeadsRefused):
        assert read_leads(raw, "US").leads
