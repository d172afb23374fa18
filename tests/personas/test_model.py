import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.errors import PersonaInvalid
from personas.json_text import MAX_DEPTH
from personas.model import (
    PLACEHOLDER,
    PLACEHOLDER_DEFAULTS,
    Persona,
    find_persona,
    json_schema,
    placeholder_name,
    unwrap,
    version_of,
)

SAMPLES = Path(__file__).parents[1] / "samples" / "metadata"


def test_the_flat_sample_is_read() -> None:
    text = (SAMPLES / "job_persona_document.json").read_text(encoding="utf-8")

    persona = Persona.from_json(text)

    assert persona.persona_name == "Priya"
    assert persona.personality is not None
    assert persona.personality.startswith("You are Priya")
    assert persona.conversation_structure is None
    assert persona.welcome_message == "Good day, this is Priya at Lakeside Dental, how can I help?"
    assert persona.closing_message == "Thank you for calling Lakeside Dental. Goodbye!"
    assert persona.language == "en"
    assert persona.voice is not None
    assert (persona.voice.provider, persona.voice.id) == ("azure", "en-US-JennyNeural")
    assert persona.raw == text.strip()
    assert persona.document["crm_ref"]["tenant"] == 17


def test_the_structured_sample_is_read() -> None:
    persona = Persona.from_json((SAMPLES / "job_persona_structure.json").read_bytes())

    assert persona.persona_name == "Lena"
    assert isinstance(persona.conversation_structure, list)
    assert persona.conversation_structure[-1] == "close politely"
    assert persona.welcome_message == "Hallo, hier ist Lena vom Versandhaus Nord."
    assert persona.closing_message == "Auf Wiederhören!"


@pytest.mark.parametrize("structure", ["greet, then ask", ["greet", {"step": "ask"}], {"a": [1]}])
def test_a_structure_is_text_a_list_or_an_object(structure: Any) -> None:
    persona = Persona.from_document({"conversationStructure": structure})

    assert persona.conversation_structure == structure


def test_snake_case_wins_and_null_is_absent() -> None:
    persona = Persona.from_document(
        {
            "personality": "p",
            "personaName": "camel",
            "persona_name": "snake",
            "welcomeMessage": "camel",
            "welcome_message": None,
            "language": None,
            "voice": None,
        }
    )

    assert persona.persona_name == "snake"
    assert persona.welcome_message == "camel"
    assert persona.language is None
    assert persona.voice is None


def test_a_voice_may_be_its_name_alone_and_keeps_what_we_do_not_know() -> None:
    alone = Persona.from_document({"personality": "p", "voice": "en-US-JennyNeural"})
    more = Persona.from_document({"personality": "p", "voice": {"id": "x", "style": "cheerful"}})

    assert alone.voice is not None
    assert (alone.voice.provider, alone.voice.id) == (None, "en-US-JennyNeural")
    assert more.voice is not None
    assert more.voice.model_dump() == {"provider": None, "id": "x", "style": "cheerful"}


def test_every_problem_is_named_at_once_and_no_value_shown() -> None:
    with pytest.raises(PersonaInvalid) as caught:
        Persona.from_document(
            {
                "persona_name": ["secret"],
                "personality": 4711,
                "conversationStructure": 4712,
                "voice": {"id": ["secret"]},
                "language": {"secret": 1},
            }
        )

    assert sorted(str(caught.value).splitlines()) == [
        "conversationStructure: must be text, a list or an object",
        "language: must be text",
        "persona_name: must be text",
        "personality: must be text",
        "voice: must be an object of text values, or text",
    ]
    assert caught.value.reason == "wrong_fields"


@pytest.mark.parametrize(
    "document",
    [{}, {"personality": None}, {"personality": " "}, {"conversationStructure": []}],
)
def test_a_persona_needs_a_personality_or_a_structure(document: dict[str, Any]) -> None:
    with pytest.raises(PersonaInvalid, match="personality"):
        Persona.from_document(document)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not_json"),
        ("<html>", "not_json"),
        ('{"personality": "p"} x', "not_json"),
        ('{"personality": "p", "n": NaN}', "not_json"),
        ('{"personality": "p", "n": -Infinity}', "not_json"),
        ('{"personality": "p", "n": 1e999}', "not_json"),
        ('{"personality": "p", "n": ' + "9" * 5000 + "}", "not_json"),
        ('{"personality": "\\ud800"}', "lone_surrogate"),
        ('{"\\udfff": 1, "personality": "p"}', "lone_surrogate"),
        ('{"personality": "\ud800"}', "lone_surrogate"),
        ('{"personality": "\ud800", "personality": "p"}', "lone_surrogate"),
        (b'{"personality": "\xff"}', "not_utf8"),
        ("[]", "not_an_object"),
        ('"x"', "not_an_object"),
        ("null", "not_an_object"),
        ("[" * 100_000, "too_deep"),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "too_deep"),
        ('{"personality": "p", "a": [' + "1," * 100_000 + "1]}", "too_big"),
    ],
)
def test_what_some_json_reader_would_choke_on_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(PersonaInvalid) as caught:
        Persona.from_json(text)

    assert caught.value.reason == reason


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    persona = Persona.from_json(b'\xef\xbb\xbf \r\n{"personality":"p"}\n')

    assert persona.raw == '{"personality":"p"}'


def test_the_text_stays_as_it_was_served() -> None:
    text = '{ "personality":"p",\n  "n": 1.50, "n": 1.0, "e": "\\u00e9é", "big": 1E5 }'

    assert Persona.from_json(text).raw == text


def test_the_reserved_key_is_taken_out_and_told() -> None:
    persona = Persona.from_json('{"personality": "p", "\\u005fcall": {"call_id": "forged"}}')

    assert persona.reserved_removed
    assert persona.raw == '{"personality":"p"}'
    assert not Persona.from_json(persona.raw).reserved_removed
    assert persona.version == Persona.from_json(persona.raw).version


def test_the_version_is_of_the_content_and_not_of_the_layout() -> None:
    one = Persona.from_json('{"personality": "p", "a": 1}')
    same = Persona.from_json('{"a":1,"personality":"\\u0070"}')
    other = Persona.from_json('{"personality": "p", "a": 2}')

    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one.version == version_of({"personality": "p", "a": 1, "_call": {}})
    assert one.version == (
        "sha256:0ddb19e4d8dfd95efed6cbc7756b6b25d1f68088a9060b7544d62acf6318dde9"
    )  # of {"a":1,"personality":"p"}


def test_nobody_can_change_a_snapshot() -> None:
    persona = Persona.from_document({"personality": "p", "conversationStructure": [{"step": 1}]})
    structure: Any = persona.conversation_structure
    document: Any = persona.document

    structure[0]["step"] = 2
    document["conversationStructure"].clear()

    assert persona.conversation_structure == [{"step": 1}]
    assert persona.document == {"personality": "p", "conversationStructure": [{"step": 1}]}
    with pytest.raises(AttributeError):
        persona.raw = "{}"  # type: ignore[misc]  # that it is frozen is the point


def test_a_snapshot_shows_no_prompt_in_a_log_and_can_be_sent_to_another_process() -> None:
    persona = Persona.from_document({"personality": "top secret", "voice": "x"})

    assert "secret" not in repr(persona)
    assert pickle.loads(pickle.dumps(persona)) == persona  # noqa: S301  (our own bytes)


@pytest.mark.parametrize(
    "value", [datetime(2026, 1, 1, tzinfo=UTC), float("nan"), {1, 2}, b"x", object()]
)
def test_a_value_that_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(PersonaInvalid) as caught:
        Persona.from_document({"personality": "p", "x": value})

    assert caught.value.reason == "not_json"


def test_a_document_that_holds_itself_is_refused() -> None:
    document: dict[str, Any] = {"personality": "p"}
    document["again"] = [document]

    with pytest.raises(PersonaInvalid) as caught:
        Persona.from_document(document)

    assert caught.value.reason == "too_deep"


INNER = '{ "personality" : "p",\t"n":1.50 }'


@pytest.mark.parametrize(
    "text",
    [
        INNER,
        f"\ufeff {INNER}\n",
        f'{{"status":true,"data":{INNER}}}',
        f'{{"result" : {INNER} ,"x":[]}}',
        f'{{"persona":{INNER}}}',
        f'{{"data":{{"persona":{INNER}}}}}',
        f'{{"data":{{"result":{{"persona":[ {INNER} ]}}}}}}',
        f'{{"data":[{INNER}]}}',
        f'{{"data":null,"result":[],"persona":{INNER}}}',
        f'{{"data":{{"total":1}},"persona":{INNER}}}',
        f'{{"personality":null,"data":{INNER}}}',
        f'{{"data":{{"personality":"old"}},"\\u0064ata":{INNER}}}',
        f'{{"a":"}}{{\\"","data":{INNER}}}',
    ],
)
def test_the_persona_is_found_in_its_envelope_byte_for_byte(text: str) -> None:
    assert unwrap(text) == INNER


def test_a_persona_that_has_data_of_its_own_is_the_persona() -> None:
    text = '{"conversationStructure":"s","data":{"personality":"another"}}'

    assert unwrap(text) == text


def test_the_envelopes_are_told_too() -> None:
    found = find_persona(f'{{"mobile":"1","data":{{"persona":{INNER}}}}}')

    assert [sorted(layer) for layer in found.objects] == [
        ["data", "mobile"],
        ["persona"],
        ["n", "personality"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"data":null}',
        '{"data":[]}',
        '{"data":"x"}',
        f'{{"data":[{INNER},{INNER}]}}',
        f'{{"data":{{"data":{{"data":{{"data":{INNER}}}}}}}}}',
        f'{{"payload":{INNER}}}',
    ],
)
def test_an_answer_without_a_persona_is_refused(text: str) -> None:
    with pytest.raises(PersonaInvalid) as caught:
        unwrap(text)

    assert caught.value.reason == "no_persona"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    inner=st.dictionaries(st.text(), JSON, max_size=4),
    around=st.dictionaries(st.text(), JSON, max_size=3),
    path=st.lists(st.sampled_from(["data", "result", "persona"]), max_size=3),
    indent=st.none() | st.integers(0, 4),
    ascii_only=st.booleans(),
)
def test_any_document_comes_out_of_any_envelope_as_it_went_in(
    inner: dict[str, Any],
    around: dict[str, Any],
    path: list[str],
    indent: int | None,
    ascii_only: bool,
) -> None:
    outer = {
        key: value
        for key, value in around.items()
        if key not in {"personality", "conversationStructure", "conversation_structure"}
        and key not in {"data", "result", "persona"}
    }
    document: dict[str, Any] = {**inner, "personality": "p"}
    answer = document
    for key in path:
        answer = {**outer, key: answer}
    text = json.dumps(answer, indent=indent, ensure_ascii=ascii_only)

    raw = unwrap(text)

    assert raw in text
    assert json.loads(raw) == document


@given(text=st.text() | st.binary() | JSON.map(json.dumps))
def test_any_text_is_a_persona_or_refused_with_a_reason(text: str | bytes) -> None:
    try:
        Persona.from_json(find_persona(text).raw)
    except PersonaInvalid as exc:
        assert exc.reason  # noqa: PT017  (that nothing else is raised is the point)


def test_the_schema_takes_the_samples_and_refuses_wrong_types() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    for name in ("job_persona_document.json", "job_persona_structure.json"):
        validator.validate(json.loads((SAMPLES / name).read_text(encoding="utf-8")))
    assert not validator.is_valid({"persona_name": "nobody"})
    assert not validator.is_valid({"personality": "p", "welcomeMessage": 5})
    assert not validator.is_valid({"personality": "p", "voice": {"id": 5}})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{name} {{ email }} {{phone}}", ["name", "email", "phone"]),
        ("[Prospect Name] [Company Name]", ["prospect name", "company name"]),
        ("[Job Title] [Resource Name]", ["job title", "resource name"]),
        ("[____@abc.com]", ["email"]),
        ('{"json": 1} [a] [1] {} {{}}', []),
    ],
)
def test_placeholders_are_recognised(text: str, names: list[str]) -> None:
    found = [placeholder_name(match) for match in PLACEHOLDER.finditer(text)]

    assert found == names
    assert set(found) <= set(PLACEHOLDER_DEFAULTS)
