"""Ids stay whole, numbers do not."""

import pytest

from router.api.masks import masked_record

HASH = "sha256:" + "1234567890123456" * 4


@pytest.mark.parametrize(
    "whole",
    [
        "0123456789abcdef0123456789abcdef",
        "out-0123456789abcdef0123456789abcdef",
        "0123456789abcdef:12",
        HASH,
    ],
)
def test_an_id_is_no_phone_number(whole: str) -> None:
    assert masked_record({"a": [whole]}) == {"a": [whole]}


@pytest.mark.parametrize("number", ["+13125550123", "1" * 32, "1" * 16, "call +13125550123 abcdef"])
def test_a_phone_number_is_masked_wherever_it_stands(number: str) -> None:
    assert number not in str(masked_record([{"a": (number,), number: 1}]))
