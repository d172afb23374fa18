"""Tells when speech has failed for good: nobody is left to hear, to think or to speak."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from livekit.agents import AgentSession, ErrorEvent, llm, stt, tts

log = structlog.get_logger(__name__)

MAX_CUT_ANSWERS: Final = 3
_WHAT: Final = {
    "stt_error": "hearing",
    "llm_error": "thinking",
    "tts_error": "speaking",
    "realtime_model_error": "speech to speech",
}
_EVERYBODY: Final = re.compile(r"all (STTs|LLMs|TTSs) failed")


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, and the kind of its last error."""

    what: str
    error: str


def watch(session: AgentSession[Any], on_failed: Callable[[Failure], None]) -> None:
    """Call *on_failed*, once, when *session* cannot go on; it stays open for a last word.

    An answer of the language model that is cut in the middle is no such failure, but the third one
    of a call is: the caller hears what there is of it and can ask again, while a second model
    would begin anew, and run a tool a second time.
    """
    cut = 0
    failed = False

    def on_error(event: ErrorEvent) -> None:
        nonlocal cut, failed
        error = event.error
        if not isinstance(
            error, stt.STTError | llm.LLMError | tts.TTSError | llm.RealtimeModelError
        ):
            return
        if error.recoverable:
            return
        error.recoverable = True  # else LiveKit would close the session before it can say anything
        if isinstance(error, llm.LLMError) and not _EVERYBODY.match(str(error.error)):
            cut += 1
            log.warning("answer.cut", error=type(error.error).__name__, times=cut)
            if cut < MAX_CUT_ANSWERS:
                return
        if not failed:
            failed = True
            failure = Failure(_WHAT[error.type], type(error.error).__name__)
            log.error("speech.failed", what=failure.what, error=failure.error)
            on_failed(failure)

    session.on("error", on_error)
