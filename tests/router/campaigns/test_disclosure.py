"""Nobody takes a machine for a person, and nobody is recorded without being told."""

from typing import Any

import pytest

from router.campaigns.disclosure import opening
from router.campaigns.model import DEFAULT
from router.campaigns.policies import shipped

US, GERMAN, BRITISH = "+13125550101", "+4930901820", "+442079460018"


def said(greeting: str = "Hello.", number: str = US, **changed: Any) -> str:
    known: dict[str, Any] = {"language": None, "recorded": False, **changed}
    return opening(greeting, number, shipped(), **known)


@pytest.mark.parametrize(
    ("number", "language", "words"),
    [
        (US, None, "This is an automated assistant. Hello."),
        (US, "en-GB", "This is an automated assistant. Hello."),
        (GERMAN, "de", "Hier spricht ein KI-Assistent. Hello."),
        (GERMAN, "de-AT", "Hier spricht ein KI-Assistent. Hello."),
        (GERMAN, "fr", "This is an automated assistant. Hello."),
        (BRITISH, "en", "This is an automated assistant. Hello."),
        ("nobody", None, "This is an automated assistant. Hello."),
    ],
)
def test_a_call_begins_with_what_speaks(number: str, language: str | None, words: str) -> None:
    assert said(number=number, language=language) == words


def test_it_is_not_said_twice() -> None:
    for greeting in ("Hi, I am an AI assistant of Alder.", DEFAULT.session_text):
        assert said(greeting) == greeting
    own = "Guten Tag, hier ist die künstliche Intelligenz von Ahorn."
    assert said(own, GERMAN, language="de") == own


def test_a_recorded_call_says_so_as_the_country_wants_it() -> None:
    assert said(recorded=True) == "This is an automated assistant. This call is recorded. Hello."
    told = said(number=GERMAN, language="de", recorded=True)
    assert "wird aufgezeichnet. Wenn Sie das nicht möchten" in told
    assert (
        said("Ann, an AI assistant. This call is being recorded.", recorded=True).count("recorded")
        == 1
    )


def test_a_call_without_a_greeting_says_that_alone() -> None:
    assert said("") == "This is an automated assistant."


def test_every_policy_has_words_in_english_and_german() -> None:
    for policy in shipped().values():
        for sentences in (policy.ai_disclosure, policy.recording_disclosure):
            assert {"en", "de"} <= set(sentences)
