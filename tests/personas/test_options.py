"""A persona's further wishes: read where they can be, named where they cannot."""

from hypothesis import given
from hypothesis import strategies as st

from personas.options import DEFAULT_TOOLS, FACT_CATEGORIES, OPTION_SPELLINGS, read_options

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_a_document_without_wishes_has_the_usual_ones() -> None:
    options, problems = read_options({"personality": "Calm.", "crm_ref": 17})

    assert problems == ()
    assert options.tools is None
    assert options.categories == FACT_CATEGORIES
    assert DEFAULT_TOOLS[-1] == "end_call"


def test_camel_case_is_read_and_snake_case_wins() -> None:
    options, _ = read_options({"maxDurationS": 60, "silenceS": 5, "silence_s": 7})

    assert (options.max_duration_s, options.silence_s) == (60, 7)


def test_a_service_may_be_text_or_an_object() -> None:
    options, problems = read_options(
        {"stt": "Deepgram/nova-3", "tts": {"provider": "azure"}, "llm": "openai"}
    )

    assert problems == ()
    assert options.stt is not None
    assert (options.stt.provider, options.stt.model) == ("deepgram", "nova-3")
    assert options.llm is not None
    assert options.llm.model is None


def test_a_field_that_cannot_be_used_is_left_out_and_the_others_stay() -> None:
    options, problems = read_options(
        {
            "timezone": "Mars/Olympus",
            "transfer_targets": [{"name": "desk", "number": "+1312555010\n0"}],
            "tools": ["end_call"],
        }
    )

    assert options.tools == ("end_call",)
    assert options.timezone is None
    assert options.transfer_targets == ()
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        "timezone",
        "transfer_targets",
    ]
    assert "Mars" not in " ".join(problems)


@given(st.dictionaries(st.sampled_from(sorted(OPTION_SPELLINGS)), JSON))
def test_whatever_stands_there_is_read_or_named(document: dict[str, object]) -> None:
    options, problems = read_options(document)

    named = {problem.partition(":")[0] for problem in problems}
    for name, value in document.items():
        if value is not None and name not in named:
            assert name in options.model_fields_set
