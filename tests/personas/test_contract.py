import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.contract import (
    MAX_METADATA_BYTES,
    CallConfig,
    Encoded,
    Origin,
    Report,
    Ring,
    decode,
    encode,
    json_schema,
    read_metadata,
)
from personas.errors import BadMetadata
from personas.model import Persona, version_of
from tests.fakes_personas import HOUSE

SAMPLES = Path(__file__).parents[1] / "samples" / "metadata"
PERSONA = Persona.from_json('{ "personality":"p",  "é":1.50 }')
CALL = CallConfig(
    call_id="c1",
    room="call-1",
    dialed_number="+18655701159",
    dialed_as="8655701159",
    caller="+4930901820",
    origin=Origin(source="api", version=PERSONA.version, because="the persona API answered"),
    variables={"name": "Ruth"},
    memory=[{"fact": "allergic to nuts"}],
    report=Report(url="http://127.0.0.1:8080/api/reports", token="t"),
    traceparent="00-1-2-01",
    ring=Ring(webhook_at=1.5, dispatched_at=2.5),
)
KIB = 1024


def call_with(**changes: Any) -> CallConfig:
    return CALL.model_copy(update=changes)


def test_the_metadata_is_the_document_and_one_reserved_key() -> None:
    encoded = encode(PERSONA, CALL, HOUSE)

    assert encoded.dropped == ()
    assert encoded.text == (
        '{ "personality":"p",  "é":1.50 ,"_call":{"schema":1,"call_id":"c1","direction":"inbound",'
        '"room":"call-1","dialed_number":"+18655701159","dialed_as":"8655701159",'
        '"caller":"+4930901820","origin":{"source":"api","age_s":0.0,'
        f'"version":"{PERSONA.version}","because":"the persona API answered"}},'
        '"variables":{"name":"Ruth"},"memory":[{"fact":"allergic to nuts"}],'
        '"report":{"url":"http://127.0.0.1:8080/api/reports","token":"t"},'
        '"traceparent":"00-1-2-01","ring":{"webhook_at":1.5,"dispatched_at":2.5},"resume":false,"attempt":1}}'
    )


def test_an_agent_that_knows_nothing_of_us_reads_its_fields_at_the_top_level() -> None:
    sample = (SAMPLES / "job_persona_document.json").read_text(encoding="utf-8")

    metadata = json.loads(encode(Persona.from_json(sample), CALL, HOUSE).text)

    assert metadata.pop("_call")["call_id"] == "c1"
    assert metadata == json.loads(sample)


def test_the_origin_names_the_version_of_what_arrives() -> None:
    document, call = decode(encode(PERSONA, CALL, HOUSE).text)

    assert call == CALL
    assert version_of(document) == CALL.origin.version


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
CALLS = st.builds(
    CallConfig,
    call_id=st.text(),
    direction=st.sampled_from(["inbound", "outbound"]),
    room=st.text(),
    dialed_number=st.none() | st.text(),
    dialed_as=st.none() | st.text(),
    caller=st.none() | st.text(),
    origin=st.builds(
        Origin,
        source=st.sampled_from(["api", "stale", "last_known_good", "file", "house"]),
        age_s=st.floats(0, 1e9),
        version=st.text(),
        because=st.text(),
    ),
    variables=st.dictionaries(st.text(), st.text(), max_size=3),
    memory=st.lists(JSON, max_size=3),
    report=st.none() | st.builds(Report, url=st.text(), token=st.text()),
    traceparent=st.none() | st.text(),
    ring=st.builds(Ring, webhook_at=st.floats(0, 1e10), dispatched_at=st.floats(0, 1e10)),
    attempt=st.integers(1, 9),
)


@given(
    fields=st.dictionaries(st.text().filter("_call".__ne__), JSON, max_size=5),
    call=CALLS,
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_whatever_goes_in_comes_out(
    fields: dict[str, Any], call: CallConfig, indent: int | None, ascii_only: bool
) -> None:
    known = {"persona_name", "personaName", "language", "voice", "welcome_message"}
    document = {key: value for key, value in fields.items() if key not in known}
    document["personality"] = "p"
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only)

    encoded = encode(Persona.from_json(raw), call, HOUSE)

    assert encoded.text.startswith(raw[:-1])
    assert decode(encoded.text) == (document, call)


def test_memory_is_dropped_first() -> None:
    encoded = encode(PERSONA, call_with(memory=["m" * 500 * KIB]), HOUSE)

    assert encoded.dropped == ("memory",)
    assert decode(encoded.text) == (PERSONA.document, call_with(memory=[]))


def test_unknown_fields_are_dropped_next() -> None:
    large = Persona.from_document({"personality": "p", "voice": "v", "catalogue": "x" * 500 * KIB})

    encoded = encode(large, call_with(memory=["m"]), HOUSE)

    assert encoded.dropped == ("memory", "unknown_fields")
    document, call = decode(encoded.text)
    assert document == {"personality": "p", "voice": "v"}
    assert call is not None
    assert call.origin.version == version_of(document)
    assert call.model_copy(update={"origin": CALL.origin}) == call_with(memory=[])


def test_memory_that_is_not_there_is_not_reported_as_dropped() -> None:
    large = Persona.from_document({"personality": "p", "catalogue": "x" * 500 * KIB})

    assert encode(large, call_with(memory=[]), HOUSE).dropped == ("unknown_fields",)


@pytest.mark.parametrize("more", [{}, {"unknown": 1}])
def test_the_house_persona_speaks_when_nothing_else_fits(more: dict[str, Any]) -> None:
    huge = Persona.from_document({"personality": "p" * 500 * KIB, **more})

    encoded = encode(huge, call_with(memory=[]), HOUSE)
    document, call = decode(encoded.text)

    assert encoded.dropped[-1] == "persona"
    assert document == HOUSE.document
    assert call is not None
    assert call.origin == Origin(
        source="house", version=HOUSE.version, because="metadata too large"
    )


def test_variables_go_when_even_the_house_persona_does_not_fit_with_them() -> None:
    encoded = encode(PERSONA, call_with(variables={"notes": "n" * 500 * KIB}), HOUSE)

    assert encoded.dropped == ("memory", "unknown_fields", "persona", "variables")
    assert decode(encoded.text)[0] == HOUSE.document


def test_a_house_persona_that_does_not_fit_is_an_error() -> None:
    huge = Persona.from_document({"personality": "p" * 500 * KIB})

    with pytest.raises(BadMetadata) as caught:
        encode(huge, CALL, huge)

    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(("over", "dropped"), [(0, ()), (1, ("memory",))])
def test_sizes_are_counted_in_bytes(over: int, dropped: tuple[str, ...]) -> None:
    empty = len(encode(PERSONA, call_with(memory=[""]), HOUSE).text.encode())
    room = MAX_METADATA_BYTES - empty + over
    memory = ["ü" * (room // 2) + "u" * (room % 2)]

    encoded = encode(PERSONA, call_with(memory=memory), HOUSE)

    assert encoded.dropped == dropped
    assert len(encoded.text.encode()) <= MAX_METADATA_BYTES


def test_half_a_character_in_the_call_costs_that_character_and_not_the_call() -> None:
    encoded = encode(PERSONA, call_with(room="r\ud800", memory=["\udfff"]), HOUSE)

    assert decode(encoded.text) == (PERSONA.document, call_with(room="r?", memory=["?"]))


def test_a_document_without_a_call_is_read_all_the_same() -> None:
    assert decode('{"personality": "p"}') == ({"personality": "p"}, None)
    assert read_metadata('{"personality": "p"}').problem is None


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("7", "unreadable: _call"),
        ("null", "unreadable: _call"),
        ('{"schema":2}', "unreadable: schema, call_id, room, origin"),
        (
            '{"call_id":"secret","room":"r","origin":{"source":"moon","version":"v","because":""}}',
            "unreadable: origin.source",
        ),
    ],
)
def test_a_broken_call_leaves_the_document(broken: str, problem: str) -> None:
    metadata = read_metadata(f'{{"personality":"p","_call":{broken}}}')

    assert metadata.document == {"personality": "p"}
    assert metadata.call is None
    assert metadata.problem == problem


def test_what_a_newer_router_says_besides_is_ignored() -> None:
    text = encode(PERSONA, CALL, HOUSE).text.replace('"attempt":1', '"attempt":1,"news":[]')

    assert decode(text) == (PERSONA.document, CALL)


@pytest.mark.parametrize("text", ["", "x", "[]", '{"a":NaN}', '{"a":"\\ud800"}', "[" * 100_000])
def test_what_is_no_json_object_is_bad_metadata(text: str) -> None:
    with pytest.raises(BadMetadata) as caught:
        decode(text)

    assert caught.value.reason


@given(text=st.text() | JSON.map(json.dumps) | JSON.map(lambda v: json.dumps({"_call": v})))
def test_any_text_is_read_or_bad_metadata(text: str) -> None:
    try:
        document, _ = decode(text)
    except BadMetadata:
        return
    assert "_call" not in document


def test_the_schema_describes_what_is_sent() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    validator.validate(json.loads(encode(PERSONA, CALL, HOUSE).text))
    assert not validator.is_valid({"personality": "p"})
    assert not validator.is_valid({"personality": "p", "_call": {"schema": 2}})


def test_a_token_is_not_shown() -> None:
    assert "token" not in repr(CALL)


def test_what_is_encoded_fits_by_default() -> None:
    assert Encoded("{}").dropped == ()
