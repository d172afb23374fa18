"""Faults as a command line names them."""

import pytest

from personas.sources.faults import Fault, read_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("timeout", Fault("timeout")),
        ("500", Fault("500")),
        ("badjson", Fault("badjson")),
        ("stale", Fault("stale")),
        ("slow=3s", Fault("slow", 3.0)),
        ("slow=250ms", Fault("slow", 0.25)),
        ("slow=1.5", Fault("slow", 1.5)),
        ("slow", None),
        ("slow=-1", None),
        ("404", None),
        ("", None),
    ],
)
def test_a_fault_is_read_or_there_is_none(text: str, fault: Fault | None) -> None:
    assert read_fault(text) == fault
