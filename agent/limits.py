"""How long a call may last, and how long the other side may be silent. Pure."""

from dataclasses import dataclass
from typing import Final

from agent import job
from agent.phrases import phrases

DEFAULT_SILENCE_S: Final = 20.0
MAX_ASKS: Final = 2  # then comes the goodbye


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one call, and what is said at them."""

    max_duration_s: float
    wrap_up: str
    silence_s: float | None  # None: silence cannot be told from speech, or nobody asks
    silence_message: str

    @classmethod
    def of(cls, brief: job.Brief, *, longest_s: float, hears_audio: bool) -> "Limits":
        """Take them from the persona; *longest_s* is the operator's own.

        A persona that says nothing of silence asks after a caller only where it can hear them.
        """
        options, said = brief.options, phrases(brief.language)
        return cls(
            max_duration_s=min(options.max_duration_s or longest_s, longest_s),
            wrap_up=options.wrap_up_message or said.time_is_up,
            silence_s=options.silence_s or (DEFAULT_SILENCE_S if hears_audio else None),
            silence_message=options.silence_message or said.still_there,
        )
