"""Providers in a row: the next one takes over when one fails, within one utterance if it can.

A provider that fails is asked again once where that makes
sense, is then left out, and is tried again in the background until it works. Chains of one are
chains too, so that every failure of a call means the same: nobody is left.
"""

from collections.abc import Sequence
from typing import Any, Final

from livekit.agents import APIConnectOptions, llm, stt, tts, vad
from livekit.agents.voice.agent_session import SessionConnectOptions

from agent.speech.attentive import attentive

RETRY_AFTER_S: Final = 0.3


def session(timeout_s: float) -> SessionConnectOptions:
    """Give the session's own retries, around a whole chain.

    A chain that can think or speak no more is the end of the call; hearing begins again, as one
    lost connection must not make a call deaf.
    """
    return SessionConnectOptions(
        stt_conn_options=APIConnectOptions(
            max_retry=2, retry_interval=RETRY_AFTER_S, timeout=timeout_s
        ),
        llm_conn_options=APIConnectOptions(max_retry=0, timeout=timeout_s),
        tts_conn_options=APIConnectOptions(max_retry=0, timeout=timeout_s),
    )


def hearing(
    ears: Sequence[stt.STT[Any]], listening: vad.VAD, *, timeout_s: float
) -> stt.FallbackAdapter:
    """Put *ears* in a row; *listening* finds the sentences for those that hear one at a time."""
    patient = [
        attentive(one, timeout_s=timeout_s) if one.capabilities.streaming else one
        for one in ears[:-1]
    ]
    return stt.FallbackAdapter(
        [*patient, *ears[-1:]],
        vad=listening,
        attempt_timeout=timeout_s,
        # with retries, a service that breaks every connection after a while would keep the call
        max_retry_per_stt=0,
        retry_interval=RETRY_AFTER_S,
    )


def thinking(minds: Sequence[llm.LLM[Any]], *, timeout_s: float) -> llm.FallbackAdapter:
    """Put *minds* in a row."""
    return llm.FallbackAdapter(
        list(minds),
        attempt_timeout=timeout_s,
        max_retry_per_llm=1 if len(minds) == 1 else 0,
        retry_interval=RETRY_AFTER_S,
    )


def speaking(mouths: Sequence[tts.TTS[Any]]) -> tts.FallbackAdapter:
    """Put *mouths* in a row."""
    return tts.FallbackAdapter(list(mouths), max_retry_per_tts=1 if len(mouths) == 1 else 0)


def realtime(timeout_s: float) -> APIConnectOptions:
    """Give the retries of a model that hears and speaks by itself."""
    return APIConnectOptions(max_retry=1, retry_interval=RETRY_AFTER_S, timeout=timeout_s)
