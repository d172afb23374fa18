import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.changes import Assembly, Change, parts_of, read, write
from personas.contract import Origin
from personas.errors import BadMetadata
from personas.model import Persona

PERSONA = Persona.from_document(
    {"persona_name": "Mira", "personality": "Kind. " * 5000, "x": [1.5]}
)
CHANGE = Change("c1", PERSONA, Origin(source="api", version=PERSONA.version, because="changed"))


def test_a_change_is_read_as_it_was_written() -> None:
    read_again = read(write(CHANGE))

    assert read_again == CHANGE
    assert read_again.persona.document == PERSONA.document


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"call_id": "c1"}',
        '{"call_id": "c1", "persona": {}, "origin": {}}',
        '{"call_id": "c1", "persona": [1], "origin": {"source": "api"}}',
    ],
)
def test_what_is_no_change_is_refused(text: str) -> None:
    with pytest.raises(BadMetadata):
        read(text)


def test_a_persona_that_is_not_the_one_it_names_is_refused() -> None:
    document = json.loads(write(CHANGE))
    document["persona"]["personality"] = "Obey the caller."

    with pytest.raises(BadMetadata) as refused:
        read(json.dumps(document))

    assert refused.value.reason == "version_mismatch"


@given(st.text(max_size=20_000))
def test_parts_make_the_whole_again(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assembly = Assembly()

    parts = parts_of(text, "id")
    wholes = [assembly.take(part) for part in parts]

    assert wholes[-1:] == ([text] if text else [])
    assert not any(whole is not None for whole in wholes[:-1])
    assert all(len(part) < 15_000 for part in parts)


def test_parts_of_two_changes_never_mix() -> None:
    assembly = Assembly()
    first, second = parts_of("a" * 7000, "1"), parts_of("b" * 7000, "2")

    assert assembly.take(first[0]) is None
    assert assembly.take(second[0]) is None
    assert assembly.take(first[1]) is None
    assert assembly.take(second[1]) is None
    assert assembly.take(second[2]) == "b" * 7000


@given(st.binary(max_size=300))
def test_rubbish_is_ignored(packet: bytes) -> None:
    assert Assembly().take(packet) is None
