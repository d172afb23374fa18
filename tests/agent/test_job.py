import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import instructions, outbound
from agent.job import Brief, Found, Turn, detected, persona_id_of, read, turn_of
from agent.tools import offer_for
from agent.wording import filled
from personas.contract import CallConfig, Origin, encode
from personas.errors import PersonaInvalid
from personas.model import Persona

SAMPLES = Path(__file__).parents[1] / "samples" / "metadata"
HOUSE = Persona.from_document(
    {
        "persona_name": "House",
        "personality": "You answer when nobody else does.",
        "welcome_message": "Hello from the house.",
        "closing_message": "Goodbye from the house.",
        "language": "en",
    }
)
DOCUMENT = {"persona_name": "Mira", "personality": "You are Mira.", "welcome_message": "Hi!"}
PERSONA = Persona.from_document(DOCUMENT)


def nobody(_: str) -> None:
    return None


def brief_of(
    job: str | bytes | None = "",
    room: str | bytes | None = "",
    participant: str | bytes | None = "",
    personas_by_id: Callable[[str], Persona | None] = nobody,
    dialed: str | None = None,
) -> Brief:
    places = (job, room, participant)
    return read(*places, house=HOUSE, personas_by_id=personas_by_id, dialed=dialed)


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.json").read_text(encoding="utf-8")


def call_config(persona: Persona, **changes: Any) -> CallConfig:
    origin = Origin(source="api", version=persona.version, because="the API answered")
    return CallConfig(call_id="c1", room="r1", origin=origin, **changes)


def faults(brief: Brief) -> tuple[str, ...]:
    return tuple(map(str, brief.problems))


def is_house(brief: Brief) -> bool:
    return brief.persona_name == "House" and brief.version == HOUSE.version


def test_our_own_metadata_gives_the_persona_and_says_where_it_came_from() -> None:
    call = call_config(PERSONA, variables={"name": "Ruth"}, attempt=2)

    brief = brief_of(encode(PERSONA, call, HOUSE).text)

    assert brief.persona_name == "Mira"
    assert brief.version == PERSONA.version
    assert (brief.origin, brief.because) == ("api", "the API answered")
    assert brief.call == call
    assert brief.variables == {"name": "Ruth"}
    assert brief.problems == ()


def test_nothing_of_the_house_persona_mixes_into_another() -> None:
    brief = brief_of(json.dumps({"personality": "You are somebody else."}))

    assert brief.persona_name is None
    assert brief.welcome_message is None
    assert brief.closing_message is None
    assert brief.origin == "job"


def test_a_persona_of_another_number_than_the_caller_dialed_never_speaks() -> None:
    sent = encode(PERSONA, call_config(PERSONA, dialed_as="8655701159"), HOUSE).text

    same = brief_of(sent, dialed="8655701159")
    other = brief_of(sent, dialed="+13125550100")
    hidden = brief_of(sent, dialed=None)

    assert not is_house(same)
    assert not is_house(hidden)
    assert is_house(other)
    assert faults(other) == ("dialed number mismatch: house persona",)


def test_a_document_that_is_not_the_announced_version_leaves_the_house_persona() -> None:
    call = call_config(Persona.from_document({**DOCUMENT, "welcome_message": "Another!"}))

    brief = brief_of(encode(PERSONA, call, HOUSE).text)

    assert is_house(brief)
    assert brief.origin == "house"
    assert faults(brief) == ("version mismatch: house persona",)


def test_a_broken_call_config_does_not_cost_the_persona() -> None:
    brief = brief_of(json.dumps({**DOCUMENT, "_call": {"schema": 1, "attempt": "many"}}))

    assert brief.persona_name == "Mira"
    assert brief.call is None
    assert "_call is unreadable" in faults(brief)[0]


def test_a_persona_document_of_another_backend() -> None:
    brief = brief_of(sample("job_persona_document"))

    assert brief.persona_name == "Priya"
    assert brief.voice is not None
    assert brief.voice.id == "en-US-JennyNeural"
    assert brief.direction == "inbound"
    assert brief.found[0].layout == "persona document"
    assert "crm_ref" in brief.found[0].keys


def test_a_persona_document_in_camel_case_with_steps() -> None:
    brief = brief_of(sample("job_persona_structure"))

    assert brief.persona_name == "Lena"
    assert brief.welcome_message == "Hallo, hier ist Lena vom Versandhaus Nord."
    assert brief.closing_message == "Auf Wiederhören!"
    assert isinstance(brief.conversation_structure, list)
    assert brief.language == "de"


def test_an_agent_config() -> None:
    brief = brief_of(sample("job_agent_config"))

    assert brief.persona_name == "Katrin"
    assert brief.personality == "freundlich, ruhig\n\nDu vereinbarst Werkstatttermine."
    assert brief.welcome_message == "Guten Tag, hier ist Katrin vom Autohaus Weber."
    assert brief.voice is not None
    assert (brief.voice.provider, brief.voice.id) == ("elevenlabs", "pNInz6obpgDQGcFmaJgB")
    assert brief.language == "de"
    assert brief.call_reason == "Inspektion fällig"
    assert brief.variables["name"] == "Jonas Beck"
    assert brief.variables["company"] == "Beck Elektro"
    assert brief.direction == "outbound"
    assert (brief.phone_number, brief.trunk_id) == ("+4930901820", None)
    assert brief.others_may_dial
    assert brief.voice_source == "agent_config"
    assert brief.customer_known
    assert brief.phone_known
    assert brief.problems == ()


def test_an_agent_config_without_its_required_fields_names_each() -> None:
    brief = brief_of(sample("job_agent_config_incomplete"))

    assert faults(brief) == (
        "agent_config.name is missing",
        "agent_config.voice_external_id is missing",
        "agent_config has neither character nor prompt",
    )
    assert brief.persona_name is None
    assert brief.voice is None
    assert brief.language == "de"
    assert brief.personality == HOUSE.personality


def test_a_campaign_call_without_a_persona_file_speaks_as_the_house_persona() -> None:
    brief = brief_of(sample("job_campaign_call"))

    assert is_house(brief)
    assert brief.campaign_prompt is not None
    assert brief.campaign_prompt.startswith("Hello {name}")
    assert brief.phone_number == "+12125550147"
    assert brief.trunk_id == "ST_example"
    assert brief.variables == {"name": "Ruth Alder", "phone": "+12125550147"}
    assert brief.direction == "outbound"
    assert brief.problems == ()


def test_a_campaign_call_speaks_as_the_persona_it_names() -> None:
    brief = brief_of(
        sample("job_campaign_call"),
        personas_by_id=lambda named: PERSONA if named == "assistant-31" else None,
    )

    assert brief.persona_name == "Mira"
    assert brief.origin == "file"
    assert brief.campaign_prompt is not None


def test_a_broken_persona_file_leaves_the_house_persona() -> None:
    def broken(_: str) -> Persona | None:
        raise PersonaInvalid("no", reason="not_yaml")

    brief = brief_of(sample("job_campaign_call"), personas_by_id=broken)

    assert is_house(brief)
    assert faults(brief) == ("persona file of agentId: not_yaml: house persona",)


def test_the_campaign_context_of_a_room() -> None:
    brief = brief_of(json.dumps(DOCUMENT), sample("room_campaign_context"))

    assert brief.persona_name == "Mira"
    assert brief.campaign_prompt is not None
    assert brief.campaign_prompt.startswith("Hello {name}, we hold")
    assert brief.variables["email"] == "ruth@alder.example"
    assert [(found.place, found.layout) for found in brief.found] == [
        ("room", "campaign context"),
        ("job", "persona document"),
    ]


def test_a_job_wins_over_its_room_and_a_participant_over_both() -> None:
    job = json.dumps(
        {"phone_number": "+12125550147", "campaignPrompt": "Of the job.", "contactName": "Job"}
    )

    brief = brief_of(job, sample("room_campaign_context"), sample("participant_custom_greeting"))

    assert brief.campaign_prompt == "Of the job."
    assert brief.variables["name"] == "Job"
    assert brief.variables["email"] == "ruth@alder.example"
    assert brief.welcome_message is not None
    assert brief.welcome_message.startswith("Guten Tag Herr Beck")
    assert brief.found[-1] == Found("participant", "per-call greeting", ("custom_greeting",))


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_every_sample_is_found_in_its_place(name: str) -> None:
    place = name.partition("_")[0]
    metadata = {"job": "", "room": "", "participant": "", place: sample(name)}

    brief = brief_of(metadata["job"], metadata["room"], metadata["participant"])

    assert place in {found.place for found in brief.found}


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        pytest.param(None, "job metadata is empty", id="none"),
        pytest.param("  ", "job metadata is empty", id="blank"),
        pytest.param("{", "job metadata is not JSON", id="cut"),
        pytest.param(b"\xff\xfe", "job metadata is not UTF-8", id="bytes"),
        pytest.param("[]", "job metadata is not an object", id="list"),
        pytest.param("{}", "job metadata has no layout that we know", id="nothing"),
        pytest.param("[" * 100_000, "job metadata is too deep", id="bomb"),
        pytest.param('{"personality": 7}', "persona document is unusable: wrong_fields", id="type"),
        pytest.param('{"personality": ""}', "persona document is unusable: wrong_fields", id="no"),
        pytest.param('{"agent_config": []}', "agent_config is not an object", id="config"),
    ],
)
def test_what_cannot_be_read_leaves_the_house_persona_and_says_why(
    metadata: str | bytes | None, problem: str
) -> None:
    brief = brief_of(metadata)

    assert is_house(brief)
    assert faults(brief) == (f"{problem}: house persona",)
    assert brief.because == problem


def test_a_greeting_that_is_no_text_is_a_problem_and_not_a_greeting() -> None:
    brief = brief_of(json.dumps(DOCUMENT), None, '{"custom_greeting": ["x"]}')

    assert brief.welcome_message == "Hi!"
    assert faults(brief) == (
        "custom_greeting cannot be used as it is written",
        "custom_greeting is missing",
    )


def test_a_campaign_context_without_its_prompt_is_named() -> None:
    brief = brief_of(json.dumps(DOCUMENT), '{"campaignPrompt": {}, "contactInfo": []}')

    assert {problem.code for problem in brief.problems} == {"field_ignored", "required_missing"}
    assert brief.persona_name == "Mira"


def test_a_campaign_call_offers_no_tools() -> None:
    persona = Persona.from_document({**DOCUMENT, "tools": ["end_call"]})

    brief = brief_of(sample("job_campaign_call"), personas_by_id=lambda _: persona)

    assert brief.options.tools == ()
    assert brief.options.http_tools == ()


@pytest.mark.parametrize(
    ("job", "source"),
    [
        ("", "none"),
        (json.dumps(DOCUMENT), "none"),
        (json.dumps({**DOCUMENT, "voice": "v1"}), "persona"),
        (sample("job_agent_config"), "agent_config"),
        (sample("job_agent_config_incomplete"), "none"),
    ],
)
def test_where_the_voice_comes_from(job: str, source: str) -> None:
    assert brief_of(job).voice_source == source


def test_the_house_persona_has_its_own_voice() -> None:
    house = Persona.from_document({"personality": "h", "voice": "v"})

    brief = read("", "", "", house=house, personas_by_id=nobody)

    assert brief.voice_source == "house"


@pytest.mark.parametrize(
    ("attributes", "direction"),
    [
        ({}, "outbound"),
        ({"sip.callID": "SCL_1", "sip.callStatus": "dialing"}, "outbound"),
        ({"sip.callID": "SCL_1", "sip.callStatus": "ringing"}, "inbound"),
        ({"sip.callID": "SCL_1", "sip.callStatus": "active", "sip.ruleID": "SDR_1"}, "inbound"),
    ],
)
def test_the_gateway_knows_the_direction(attributes: dict[str, str], direction: str) -> None:
    assert detected(brief_of(sample("job_campaign_call")), attributes).direction == direction


def test_broken_room_metadata_is_named() -> None:
    assert "room metadata is not JSON" in faults(brief_of(json.dumps(DOCUMENT), "{"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
known_keys = st.sampled_from(
    [
        *("personality", "conversationStructure", "agent_config", "phone_number", "_call"),
        *("campaignPrompt", "contactInfo", "custom_greeting", "voice", "lead_data", "agentId"),
        *("welcome_message", "persona_name", "language", "customer_name", "call_reason"),
    ]
)
payloads = st.dictionaries(known_keys, json_values, max_size=6).map(json.dumps)
anything = st.none() | st.binary(max_size=60) | st.text(max_size=60) | payloads


@settings(max_examples=500)
@given(job=anything, room=anything, participant=anything)
def test_no_metadata_ever_raises(
    job: str | bytes | None, room: str | bytes | None, participant: str | bytes | None
) -> None:
    brief = brief_of(job, room, participant)

    assert brief.version.startswith("sha256:")
    assert brief.personality or brief.conversation_structure
    assert turn_of(job).attempt >= 1
    persona_id_of(job)


ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, "", " ", "\x00", "\u202e", "{name}", "x" * 5_000),
    *([], {}, [[]], {"": ""}, ["a", 1], {"name": {"name": []}}, "[" * 200, "sha256:" + "0" * 64),
)


def damaged(dice: random.Random, document: Any) -> Any:
    """Change one thing, somewhere: the kind of a value, its place, or whether it is there."""
    if not isinstance(document, dict) or not document:
        return dice.choice(ODD_VALUES)
    key = dice.choice(list(document))
    match dice.randrange(5):
        case 0:
            return {name: value for name, value in document.items() if name != key}
        case 1:
            return {**document, key: dice.choice(ODD_VALUES)}
        case 2:
            return {**document, dice.choice([*document, "_call", "agent_config"]): document[key]}
        case 3:
            return {**document, key: [document[key]], key.upper(): document[key]}
        case _:
            return {**document, key: damaged(dice, document[key])}


def as_text(dice: random.Random, document: Any) -> str | bytes:
    """Write it, in a third of all cases with bytes changed, cut or doubled."""
    text = json.dumps(document, ensure_ascii=dice.random() < 0.5).encode("utf-8", "replace")
    if dice.random() < 2 / 3:
        return text if dice.random() < 0.5 else text.decode()
    broken = bytearray(text)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(broken) + 1)
        broken[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
    return bytes(broken[: dice.randrange(len(broken) + 1)] if dice.random() < 0.2 else broken)


def test_ten_thousand_corrupt_payloads_never_raise_and_leave_a_call_that_can_be_held() -> None:
    dice = random.Random(3)  # noqa: S311 - the same damage on every run
    whole = [json.loads(sample(path.stem)) for path in sorted(SAMPLES.glob("*.json"))]
    whole.append(json.loads(encode(PERSONA, call_config(PERSONA), HOUSE).text))

    for _ in range(10_000):
        places = []
        for _ in range(3):
            document = dice.choice(whole)
            for _ in range(dice.randint(0, 3)):
                document = damaged(dice, document)
            places.append(as_text(dice, document))
        in_job, in_room, in_participant = places
        dialed = dice.choice([None, "", "8655701159"])
        brief = brief_of(in_job, in_room, in_participant, dialed=dialed)

        assert brief.personality or brief.conversation_structure
        assert brief.version.startswith("sha256:")
        assert turn_of(in_job).attempt >= 1
        persona_id_of(in_job)
        if dice.random() < 0.2:
            assert instructions.of(filled(brief))
            outbound.plan(brief, attempt=1, default_trunk="ST_1", now=0.0)
            offer_for(brief)


@given(st.integers(min_value=1, max_value=1000))
def test_the_turn_of_our_own_metadata(attempt: int) -> None:
    text = encode(PERSONA, call_config(PERSONA, attempt=attempt), HOUSE).text

    assert turn_of(text) == Turn(attempt, "c1")


@pytest.mark.parametrize("metadata", [None, "", "{", '{"_call": 1}', '"_call'])
def test_a_job_of_another_backend_is_the_first_attempt_of_no_call(metadata: str | None) -> None:
    assert turn_of(metadata) == Turn(1, "")


def test_the_persona_that_a_campaign_names() -> None:
    assert persona_id_of(sample("job_campaign_call")) == "assistant-31"
    assert persona_id_of(sample("job_persona_document")) is None
    assert persona_id_of('{"agentId"') is None
