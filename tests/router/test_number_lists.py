"""Lists of numbers as people keep them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.number_lists import NumberList, read_numbers

ONE, TWO = "+13125550101", "+13125550102"


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n{TWO}\n",
        f"{ONE}\r\n\r\n{TWO}",
        f"\ufeffnumber\n{ONE}\n{TWO}\n{ONE}\n",
        f"name,Phone Number\nRuth,{ONE}\nBen,(312) 555-0102\n",
        f"name;telefon\nRuth;{ONE}\nBen;{TWO}\n",
        f'name,number\n"Ruth\nAlder",{ONE}\nBen,{TWO}\n',
        f"number,scope\r\n'{ONE},everywhere\r\n'{TWO},everywhere\r\n",
    ],
)
def test_each_number_is_read_once_however_the_list_is_written(text: str) -> None:
    assert read_numbers(text.encode(), "US") == NumberList((ONE, TWO), ())


def test_lines_without_a_number_are_named() -> None:
    found = read_numbers(f"name,number\nRuth,{ONE}\nBen,soon\nEva\n".encode(), None)

    assert found == NumberList((ONE,), (3, 4))


@given(st.binary(max_size=300))
def test_whatever_the_bytes_it_is_read(raw: bytes) -> None:
    found = read_numbers(raw, "US")

    assert all(number.startswith("+") for number in found.numbers)
