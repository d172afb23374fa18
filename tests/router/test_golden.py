"""What the router sends for the payloads that are personas, byte for byte.

``python -m tests.router.test_golden`` writes the files anew; look at the difference first.
"""

import json

import jsonschema
import pytest

from personas.contract import encode, json_schema
from personas.model import Persona
from tests.samples.golden import ENCODED, GOLDEN, HOUSE, call_of, encoded, payload


def sent(name: str) -> str:
    persona = Persona.from_json(payload(name))
    return encode(persona, call_of(persona), HOUSE).text


@pytest.mark.parametrize("name", ENCODED)
def test_a_persona_is_encoded_as_it_is_written_down(name: str) -> None:
    assert sent(name) == encoded(name)


@pytest.mark.parametrize("name", ENCODED)
def test_what_is_sent_keeps_to_the_published_schema(name: str) -> None:
    jsonschema.validate(json.loads(encoded(name)), json_schema())


if __name__ == "__main__":
    for one in ENCODED:
        (GOLDEN / "encoded" / f"{one}.json").write_text(sent(one) + "\n", encoding="utf-8")
