"""A voice that must begin in time, and go on.

The plugins bound how long connecting takes; a service that takes the request and then says nothing
holds up most of them for thirty seconds, which is as good as hanging up.
"""

import asyncio
from typing import Any, Final

from livekit.agents import APIConnectOptions, APITimeoutError, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

_LOOK_EVERY_S: Final = 0.05


async def in_time(work: Any, emitter: tts.AudioEmitter, *, timeout_s: float) -> None:
    """Run *work*, which pushes audio into *emitter*.

    Raises:
        APITimeoutError: no audio for *timeout_s*, or no more.
    """
    task = asyncio.ensure_future(work)
    clock = asyncio.get_running_loop().time
    heard, since = 0.0, clock()
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_EVERY_S)
            pushed = emitter.pushed_duration()
            if pushed > heard:
                heard, since = pushed, clock()
            elif clock() - since > timeout_s:
                raise APITimeoutError("no sound in time")
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


def punctual(voice: tts.TTS[Any], *, timeout_s: float) -> tts.TTS[Any]:
    """Bound how long *voice* may be silent over a text that it was given as a whole.

    Text that comes bit by bit, over a WebSocket, the plugins bound themselves.
    """
    synthesize = voice.synthesize

    def timed(
        text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        stream = synthesize(text, conn_options=conn_options)
        run = stream._run  # noqa: SLF001 - its task looks it up when it starts, after us

        async def run_in_time(output_emitter: tts.AudioEmitter) -> None:
            await in_time(run(output_emitter), output_emitter, timeout_s=timeout_s)

        stream._run = run_in_time  # type: ignore[method-assign] # noqa: SLF001 - one stream's
        return stream

    voice.synthesize = timed  # type: ignore[method-assign] # this instance's alone
    return voice
