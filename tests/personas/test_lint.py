from typing import Any

import pytest

from personas.lint import Finding, lint
from personas.model import Persona

GOOD: dict[str, Any] = {
    "persona_name": "Priya",
    "personality": "You are Priya.",
    "welcome_message": "Hello!",
    "language": "en-US",
    "voice": {"provider": "azure", "id": "en-US-JennyNeural"},
    "crm_ref": {"tenant": 17},
}


def levels(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding.level, finding.field) for finding in lint(document)]


def test_a_good_persona_has_no_findings() -> None:
    assert lint(GOOD) == []
    assert lint(Persona.from_document(GOOD)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"welcome_message": " "}, ("warning", "welcome_message"), id="no greeting"),
        pytest.param({"language": "xx"}, ("warning", "language"), id="unknown language"),
        pytest.param({"language": "English"}, ("warning", "language"), id="a language's name"),
        pytest.param({"voice": "en-US-JennyNeural"}, ("warning", "voice.provider"), id="voice"),
        pytest.param({"welcom_message": "x"}, ("warning", "welcom_message"), id="misspelt"),
        pytest.param({"personaName": "P"}, ("warning", "persona_name"), id="both spellings"),
        pytest.param({"personality": "p" * 21 * 1024}, ("warning", "personality"), id="long"),
        pytest.param({"personality": "p" * 301 * 1024}, ("error", "personality"), id="too long"),
        pytest.param(
            {"conversation_structure": ["ü" * 11 * 1024]}, ("warning", "personality"), id="bytes"
        ),
        pytest.param({"_call": {}}, ("error", "_call"), id="reserved"),
        pytest.param({"language": False}, ("error", "language"), id="yaml's no"),
        pytest.param({"personality": ""}, ("error", "personality"), id="empty"),
        pytest.param({"since": {1, 2}}, ("error", "document"), id="no JSON value"),
        pytest.param({"tools": ["fly"]}, ("error", "tools"), id="no such tool"),
        pytest.param({"tools": ["transfer_call"]}, ("error", "tools"), id="means missing"),
        pytest.param({"stt": "whisperer"}, ("error", "stt"), id="unknown ears"),
        pytest.param({"llm": {"provider": "deepgram"}}, ("error", "llm"), id="not of that kind"),
        pytest.param(
            {"voice": {"provider": "acme", "id": "x"}}, ("error", "voice.provider"), id="owner"
        ),
    ],
)
def test_what_an_author_should_know_is_found(
    change: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert expected in levels(GOOD | change)


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"tools": ["end_calls"]}, "did you mean `end_call`?"),
        ({"tools": ["book_appointment"]}, "add `calendar`, such as {provider: builtin}"),
        ({"speech_to_speech": "openal"}, "name one of openai, google"),
    ],
)
def test_a_tool_or_provider_that_cannot_be_used_has_a_fix(change: dict[str, Any], fix: str) -> None:
    (finding,) = lint(GOOD | change)

    assert finding.fix == fix


def test_other_spellings_of_a_provider_are_known() -> None:
    wishes = {"tts": "Eleven Labs", "llm": "azure-openai/gpt", "speech_to_speech": "gemini"}

    assert lint(GOOD | wishes) == []


@pytest.mark.parametrize("language", ["de", "es-MX", "zh-Hans-CN", "pt_BR", "fil-PH", None])
def test_language_codes_are_known(language: str | None) -> None:
    assert lint(GOOD | {"language": language}) == []


@pytest.mark.parametrize(
    ("literal", "said"),
    [
        ("{name}", '"there" is said'),
        ("{{ name }}", '"there" is said'),
        ("[Prospect Name]", '"there" is said'),
        ("[____@abc.com]", '"your email" is said'),
        ("[Job Title]", "its whole sentence is left out"),
        ("{order}", "its whole sentence is left out"),
    ],
)
@pytest.mark.parametrize(
    "field", ["personality", "conversation_structure", "welcome_message", "closing_message"]
)
def test_a_placeholder_is_noted_with_what_happens_when_nothing_fills_it(
    literal: str, said: str, field: str
) -> None:
    text = f"Hello {literal}, and again {literal}."
    value: Any = {"steps": [text, 1]} if field == "conversation_structure" else text

    (finding,) = lint(GOOD | {field: value})

    assert (finding.level, finding.field) == ("warning", field)
    assert literal in finding.message
    assert said in finding.message


def test_a_misspelt_field_comes_with_its_right_name() -> None:
    (finding,) = lint(GOOD | {"closing_mesage": "x"})

    assert finding.fix == "did you mean `closing_message`?"


def test_errors_come_first() -> None:
    assert levels({"personality": 5, "welcom_message": "x", "_call": 1}) == [
        ("error", "personality"),
        ("error", "_call"),
        ("warning", "welcom_message"),
    ]


def test_a_persona_that_came_with_the_reserved_key_is_told_so() -> None:
    persona = Persona.from_document(GOOD | {"_call": {}})

    assert [finding.field for finding in lint(persona)] == ["_call"]


def test_no_finding_shows_a_value() -> None:
    document = {"personality": ["secret"], "language": 5, "voice": {"id": ["secret"]}}

    assert all("secret" not in repr(finding) for finding in lint(document))
    assert all(isinstance(finding, Finding) for finding in lint(document))
