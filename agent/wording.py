"""What is said word for word: greeting and goodbye, their placeholders filled. Pure."""

from dataclasses import replace

from agent import instructions, job
from agent.phrases import phrases


def filled(brief: job.Brief) -> job.Brief:
    """Fill the placeholders of everything that is spoken word for word."""

    def spoken(text: str | None) -> str | None:
        return instructions.fill(text, known, language=brief.language) or None if text else None

    known = brief.variables
    if brief.persona_name:
        known = {"resource name": brief.persona_name, **known}
    resumed = brief.call is not None and brief.call.resume
    greeting = instructions.cut_off(brief.language) if resumed else brief.welcome_message
    return replace(
        brief,
        welcome_message=spoken(greeting),
        closing_message=spoken(brief.closing_message),
    )


def goodbye(brief: job.Brief, spoken: str) -> str:
    """Give the goodbye; what was *spoken* in this turn is not said again."""
    closing = brief.closing_message
    if closing is None:
        return "" if spoken.strip() else phrases(brief.language).goodbye
    return "" if _squeezed(closing) in _squeezed(spoken) else closing


def _squeezed(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
