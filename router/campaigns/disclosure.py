"""What a person has to be told at the beginning of a call, by the rules of their country. Pure."""

from collections.abc import Mapping

from router.campaigns.gate import facts_of
from router.campaigns.policy import Policy, Sentence


def opening(
    greeting: str,
    number: str,
    policies: Mapping[str, Policy],
    *,
    language: str | None,
    recorded: bool,
) -> str:
    """Put in front of *greeting* what *number* (E.164) has to be told and it does not say itself.

    That the voice is a machine's and, of a call that is *recorded*, that it is. *language* is the
    persona's (``de``, ``de-AT``); one that a policy has no words in is told in English.
    """
    country = (facts_of(number).country or "").lower()
    policy = policies.get(country, policies["default"])
    told = [policy.ai_disclosure, *([policy.recording_disclosure] if recorded else [])]
    said = greeting.casefold()
    missing = [
        sentence.text
        for sentence in (_in(language, sentences) for sentences in told)
        if not any(words.casefold() in said for words in (sentence.text, *sentence.said_by))
    ]
    return " ".join([*missing, *([greeting] if greeting.strip() else [])])


def _in(language: str | None, sentences: Mapping[str, Sentence]) -> Sentence:
    return sentences.get((language or "en")[:2].lower(), sentences["en"])
