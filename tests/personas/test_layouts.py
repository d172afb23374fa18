import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.layouts import LAYOUTS, AgentConfigCall, LayoutName, json_schema, read_layout
from tests.samples import FOLDER

SAMPLES: dict[str, LayoutName] = {
    "job_agent_config": "agent-config",
    "job_campaign_call": "campaign-call",
    "room_campaign_context": "campaign-context",
    "participant_custom_greeting": "greeting",
}


def sample(name: str) -> dict[str, Any]:
    text = (FOLDER / "metadata" / f"{name}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.mark.parametrize(("name", "layout"), SAMPLES.items())
def test_a_sample_keeps_to_its_schema_and_every_field_of_it_is_read(
    name: str, layout: LayoutName
) -> None:
    jsonschema.validate(sample(name), json_schema(layout))

    read, problems = read_layout(LAYOUTS[layout], sample(name))

    assert problems == []
    assert read.model_dump(by_alias=True, exclude_none=True) == sample(name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_schema_asks_for_what_is_required(layout: LayoutName) -> None:
    schema = json_schema(layout)

    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)


def test_the_schema_of_an_agent_config_refuses_the_incomplete_sample() -> None:
    with pytest.raises(jsonschema.ValidationError, match="required property"):
        jsonschema.validate(sample("job_agent_config_incomplete"), json_schema("agent-config"))


def test_what_cannot_be_used_is_left_out_and_named() -> None:
    read, problems = read_layout(
        AgentConfigCall,
        {
            "agent_config": {"name": " Katrin ", "prompt": ["no"], "agent_id": 7781},
            "lead_data": "Beck",
            "call_reason": 1.5,
        },
    )

    assert (read.agent_config.name, read.agent_config.agent_id) == ("Katrin", "7781")
    assert read.agent_config.prompt is None
    assert read.call_reason is None
    assert sorted(problems) == ["agent_config.prompt", "call_reason", "lead_data"]


@given(
    st.sampled_from(sorted(LAYOUTS)),
    st.dictionaries(
        st.sampled_from(["agent_config", "phone_number", "contactInfo", "lead_data", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["name", "prompt", "email"]), inner, max_size=2)
            ),
            max_leaves=6,
        ),
    ),
)
def test_no_document_ever_raises(layout: LayoutName, document: dict[str, Any]) -> None:
    _, problems = read_layout(LAYOUTS[layout], document)

    assert len(problems) == len(set(problems))
