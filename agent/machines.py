"""Whether a person or a machine picked up an outbound call, by LiveKit's detector (AMD).

It listens to the first words and has the conversation's own language model judge them: a session
that hears nothing, or whose model hears and speaks by itself, cannot do it.
"""

import asyncio
from typing import Final

import structlog
from livekit.agents import AgentSession
from livekit.agents.voice.amd import AMD
from livekit.agents.voice.amd.classifier import AMDCategory

log = structlog.get_logger(__name__)

LISTEN_TIMEOUT_S: Final = 12.0  # after that it is taken for a person: silence is no way to begin
TIMEOUT_S: Final = 30.0
MAILBOX: Final = AMDCategory.MACHINE_VM.value
MACHINES: Final = frozenset(
    {MAILBOX, AMDCategory.MACHINE_IVR.value, AMDCategory.MACHINE_UNAVAILABLE.value}
)


async def listen(session: AgentSession[None], callee: str) -> str | None:
    """Give what picked up, in AMD's words; ``None``: this session cannot tell.

    *callee* is their identity in the room.
    """
    try:
        detector = AMD(
            session,
            llm=None,  # the session's own
            stt=None,
            interrupt_on_machine=False,  # nothing has been said yet
            ivr_detection=False,
            participant_identity=callee,
            suppress_compatibility_warning=True,
            detection_options={"timeout": LISTEN_TIMEOUT_S, "no_speech_threshold": 4.0},
        )
        async with asyncio.timeout(TIMEOUT_S), detector:
            return (await detector.execute()).category.value
    except TimeoutError:
        return AMDCategory.UNCERTAIN.value
    except (ValueError, RuntimeError) as exc:
        log.warning("machine.not_listened", error=type(exc).__name__)
        return None
