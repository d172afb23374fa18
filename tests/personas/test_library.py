import json
from pathlib import Path

import pytest

import personas
from personas.lint import lint
from personas.model import json_schema
from personas.sources.files import HOUSE, house, read_document, read_persona, shipped

LIBRARY = Path(personas.__file__).parent / "library"
FILES = sorted(LIBRARY.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_shipped_persona_passes_lint(path: Path) -> None:
    assert lint(read_document(path)) == []
    assert lint(shipped(path.stem)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_shipped_persona_tells_editors_its_schema(path: Path) -> None:
    header = path.read_text(encoding="utf-8").splitlines()[0]

    assert header == "# yaml-language-server: $schema=persona.schema.json"


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    text = (LIBRARY / "persona.schema.json").read_text(encoding="utf-8")

    assert json.loads(text) == json_schema()


def test_three_lively_personas_and_the_last_resort_ship() -> None:
    lively = [read_persona(path) for path in FILES if path.stem != HOUSE]

    assert len(lively) == 3
    assert {persona.language for persona in lively} == {"en", "de", "es"}
    assert len({persona.voice and persona.voice.id for persona in lively}) == 3
    assert {type(persona.conversation_structure) for persona in lively} == {str, list, dict}
    assert all(persona.welcome_message and persona.closing_message for persona in lively)
    assert house(None) == shipped(HOUSE)
