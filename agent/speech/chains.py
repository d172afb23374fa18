"""Providers in a row: the next one takes over when one fails, within one utterance if it can.

The deadlines of a call stand here. A provider that fails is asked again once where that makes
sense, is then left out, and is tried again in the background until it works. Chains of one are
chains too, so that every failure of a call means the same: nobody is left.
"""

from collections.abc import Sequence
from typing import Any, Final

from livekit.agents import APIConnectOptions, llm, stt, tts, vad
from livekit.agents.voice.agent_session import SessionConnectOptions

SPEAK_TIMEOUT_S: Final = 4.0  # to connect, and between two messages of a WebSocket
HEAR_TIMEOUT_S: Final = 4.0  # to connect
THINK_TIMEOUT_S: Final = 5.0  # for the first word, and between two
RETRY_AFTER_S: Final = 0.3


def session() -> SessionConnectOptions:
    """Give the session's own retries, around a whole chain.

    A chain that can think or speak no more is the end of the call; hearing begins again, as one
    lost connection must not make a call deaf.
    """
    return SessionConnectOptions(
        stt_conn_options=APIConnectOptions(
            max_retry=2, retry_interval=RETRY_AFTER_S, timeout=HEAR_TIMEOUT_S
        ),
        llm_conn_options=APIConnectOptions(max_retry=0, timeout=THINK_TIMEOUT_S),
        tts_conn_options=APIConnectOptions(max_retry=0, timeout=SPEAK_TIMEOUT_S),
    )


def hearing(ears: Sequence[stt.STT[Any]], listening: vad.VAD) -> stt.FallbackAdapter:
    """Put *ears* in a row; *listening* finds the sentences for those that hear one at a time."""
    return stt.FallbackAdapter(
        list(ears),
        vad=listening,
        attempt_timeout=HEAR_TIMEOUT_S,
        max_retry_per_stt=1,
        retry_interval=RETRY_AFTER_S,
    )


def thinking(minds: Sequence[llm.LLM[Any]]) -> llm.FallbackAdapter:
    """Put *minds* in a row."""
    return llm.FallbackAdapter(
        list(minds),
        attempt_timeout=THINK_TIMEOUT_S,
        max_retry_per_llm=1 if len(minds) == 1 else 0,
        retry_interval=RETRY_AFTER_S,
    )


def speaking(mouths: Sequence[tts.TTS[Any]]) -> tts.FallbackAdapter:
    """Put *mouths* in a row."""
    return tts.FallbackAdapter(list(mouths), max_retry_per_tts=1 if len(mouths) == 1 else 0)
