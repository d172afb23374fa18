"""`numbers …`, as an operator types it."""

import pytest

from tests.router.cli.test_users import _settings, said

__all__ = ["_settings"]  # fixture

NUMBER = "+13125550100"


def test_a_number_is_given_to_a_tenant_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "numbers", "list") == ""
    assert said(capsys, "numbers", "assign", "312 555 0100", "north") == f"{NUMBER} is north's\n"
    assert said(capsys, "numbers", "list").split() == [NUMBER, "north"]
    assert said(capsys, "numbers", "list", "--tenant", "south") == ""
    assert said(capsys, "numbers", "release", NUMBER) == "released\n"
    assert "numbers list" in said(capsys, "numbers", "release", NUMBER, status=4)


def test_what_cannot_be_read_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert "E.164" in said(capsys, "numbers", "assign", "soon", "north", status=2)
    assert "letters" in said(capsys, "numbers", "assign", NUMBER, "no good", status=2)
