"""Secrets in the database: read with our keys alone, and only in their own row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import SealBroken
from router.seals import Seal

OLD, NEW = "old_secret_old_secret_old_secret", "new_secret_new_secret_new_secret"
SECRET = "whsec_" + "A" * 44


@given(st.text(max_size=60), st.text(max_size=12))
def test_what_was_sealed_opens_again_for_its_row(text: str, row: str) -> None:
    sealed = Seal([OLD]).close(text, row)

    assert Seal([NEW, OLD]).open(sealed, row) == text


def test_the_sealed_text_tells_nothing_and_is_another_each_time() -> None:
    one, other = (Seal([OLD]).close(SECRET, "hook") for _ in range(2))

    assert SECRET.removeprefix("whsec_") not in one
    assert one != other
    assert len(one) <= 120  # as wide as its column


@pytest.mark.parametrize("kept", ["sealed1:", "sealed1:AAAA", "sealed1:ä", SECRET, ""])
def test_what_is_not_sealed_does_not_open(kept: str) -> None:
    with pytest.raises(SealBroken):
        Seal([OLD]).open(kept, "hook")


def test_another_key_or_another_row_does_not_open_it() -> None:
    sealed = Seal([OLD]).close(SECRET, "hook")

    with pytest.raises(SealBroken):
        Seal([NEW]).open(sealed, "hook")
    with pytest.raises(SealBroken):
        Seal([OLD]).open(sealed, "another")


def test_a_changed_key_seals_anew_what_the_old_one_has_sealed() -> None:
    both, sealed = Seal([NEW, OLD]), Seal([OLD]).close(SECRET, "hook")

    renewed = both.renewed(sealed, "hook")

    assert Seal([NEW]).open(renewed, "hook") == SECRET
    assert both.renewed(renewed, "hook") == renewed
    assert both.open(both.renewed(SECRET, "hook"), "hook") == SECRET
