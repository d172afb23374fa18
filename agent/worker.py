"""The process that takes jobs: registers under the agent's name and runs each call in a process.

LiveKit's job processes send their log records to this one, where our formatter masks them.
"""

import asyncio
import logging
import math
import os
import re
import signal
import traceback
from types import MappingProxyType
from typing import Final

import structlog
from livekit.agents import AgentServer, JobContext, JobProcess, JobRequest

from agent import job, speech
from agent.call import Call
from agent.house import House
from agent.providers import KINDS, is_installed
from agent.rehearsal import rehearse
from agent.report import sender_for
from agent.resend import Resender
from agent.settings import AgentSettings
from personas.contract import ATTRIBUTE_ATTEMPT, ATTRIBUTE_CALL
from personas.providers import Kind
from personas.sources.files import FilePersonaSource, shipped

log = structlog.get_logger(__name__)

#: The load at which the LiveKit server gives a worker no more jobs (its ``agents.target_load``).
SERVER_TARGET_LOAD: Final = 0.7
PROCESS_START_TIMEOUT_S: Final = 30.0
FORCED_STOP_TIMEOUT_S: Final = 5.0
DAY_S: Final = 86_400.0
#: Loggers whose lines below this level matter to nobody who runs this. ``livekit`` is the native
#: SDK, which warns of handles that it has freed itself.
QUIET: Final = MappingProxyType(
    {
        "livekit": logging.ERROR,
        "openai": logging.WARNING,
        "httpx2": logging.WARNING,
        "httpcore2": logging.WARNING,
        "websockets.client": logging.WARNING,
    }
)

#: What LiveKit adds to a record: the message again, and what a model was saying when it failed.
_PRIVATE: Final = frozenset({"message", "text_sent", "tool_calls_sent"})
_QUOTED: Final = re.compile(r"(pushed for text:).*", re.DOTALL)
_SETTINGS: Final = "settings"
_HOUSE: Final = "house"


# ---- in the job's process -----------------------------------------------------------------


class ForQueue(logging.Formatter):
    """Puts a record into words for the way to the main process, which formats and masks it.

    LiveKit's errors may quote what was to be spoken: it is cut off.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the message; a traceback travels beside it."""
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info))
            record.exception = _QUOTED.sub(r"\1 …", trace)
            record.exc_info = None
        return _QUOTED.sub(r"\1 …", record.getMessage())


def warm_up(process: JobProcess) -> None:
    """Prepare a process before there is a call: imports are done, settings and house are read."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(ForQueue())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    rehearse()
    settings = AgentSettings.load()
    process.userdata[_SETTINGS] = settings
    speech.warm_up(settings)
    files = FilePersonaSource(settings.persona_dir) if settings.persona_dir else None
    process.userdata[_HOUSE] = House(shipped("house"), files)


async def hold_call(ctx: JobContext) -> None:
    """Hold the call of one job."""
    await Call(ctx, ctx.proc.userdata[_SETTINGS], ctx.proc.userdata[_HOUSE]).hold()


# ---- in the main process ------------------------------------------------------------------


async def accept(request: JobRequest) -> None:
    """Accept at once, as LiveKit's own unique identity, and show which dispatch this is."""
    turn = job.turn_of(request.job.metadata)
    await request.accept(
        attributes={ATTRIBUTE_ATTEMPT: str(turn.attempt), ATTRIBUTE_CALL: turn.call_id}
    )


def build_server(settings: AgentSettings) -> AgentServer:
    """Build the worker; it does nothing before :func:`serve`.

    Its load is the number of calls, not of the processor: a burst of calls on a small machine
    would otherwise be turned away, and those phones ring on.
    """

    def load(server: AgentServer) -> float:
        return SERVER_TARGET_LOAD * len(server.active_jobs) / settings.agent_max_calls

    server = AgentServer(
        ws_url=settings.livekit_url,
        api_key=settings.livekit_api_key,
        api_secret=settings.livekit_api_secret.get_secret_value(),
        host=settings.agent_health_host,
        port=settings.agent_health_port,
        num_idle_processes=settings.agent_idle_processes,
        initialize_process_timeout=PROCESS_START_TIMEOUT_S,
        setup_fnc=warm_up,
        load_fnc=load,
        load_threshold=math.inf,
        preload_modules=["agent.worker", *speech.modules(settings)],
        log_level=settings.log_level,
    )
    server.rtc_session(hold_call, agent_name=settings.agent_to_dispatch, on_request=accept)
    return server


def quieten(level: str) -> None:
    """Set the levels of the libraries' loggers; job processes take them over.

    LiveKit's own DEBUG lines hold what people say, so they are never written.
    """
    for name, at_least in QUIET.items():
        logging.getLogger(name).setLevel(at_least)
    for name in ("livekit.agents", "livekit.plugins"):  # below ``livekit``, but not as quiet
        logging.getLogger(name).setLevel("INFO" if level == "DEBUG" else level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(tidy)


def tidy(record: logging.LogRecord) -> bool:
    """Drop what is private or said twice, and what the native SDK says of leaving.

    Whoever is removed from a room sees its data channels close, which that SDK calls an error.
    """
    for key in [key for key in record.__dict__ if key in _PRIVATE or key.startswith("lk.pii.")]:
        del record.__dict__[key]
    return not (record.name == "livekit" and "closed unexpectedly" in record.getMessage())


def announce(settings: AgentSettings) -> None:
    """Say which speech is used, and what is missing for the other."""
    if settings.speech_mode == "providers":
        kinds: tuple[Kind, ...] = (*KINDS, "speech_to_speech")
        log.info(
            "speech.chosen",
            mode="providers",
            **{kind: list(settings.usable(kind)) for kind in kinds},
        )
    elif settings.speech == "offline":
        log.info("speech.chosen", mode="offline", because="SPEECH=offline")
    else:
        missing = settings.missing_keys()
        log.warning("speech.chosen", mode="offline", because="keys are missing", missing=missing)
    if settings.noise_cancellation and not is_installed(speech.NOISE_CANCELLATION):
        log.warning(
            "noise_cancellation.off",
            because="its package is missing",
            fix="pip install livekit-plugins-noise-cancellation, or NOISE_CANCELLATION=false",
        )


async def serve(settings: AgentSettings) -> bool:
    """Take calls until SIGTERM or SIGINT; then let running calls finish. A second signal ends them.

    ``False``: the worker could not start or stay registered, and has said why.
    """
    quieten(settings.log_level)
    announce(settings)
    server = build_server(settings)
    stop, stop_now = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (stop_now if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(on_signal))
    running = asyncio.create_task(server.run())
    resender = Resender(
        settings.report_spool_dir,
        sender_for(settings),
        max_bytes=settings.report_spool_mib * 1024 * 1024,
        max_age_s=settings.report_spool_days * DAY_S,
    )
    resending = asyncio.create_task(resender.run())
    await _first(running, stop)
    if not running.done():
        draining = asyncio.create_task(server.drain())
        await _first(draining, stop_now)
        draining.cancel()  # it keeps the server from closing for as long as it waits
        await asyncio.wait({draining})
    if stop_now.is_set():
        log.warning("worker.forced")
        loop.call_later(FORCED_STOP_TIMEOUT_S, os._exit, 1)
    await server.aclose()
    await asyncio.wait({running})
    resending.cancel()
    await asyncio.wait({resending})
    await resender.aclose()
    if (failure := running.exception()) is not None:
        log.error("worker.failed", error=type(failure).__name__, reason=str(failure))
        return False
    log.info("worker.stopped")
    return True


async def _first(work: asyncio.Task[None], event: asyncio.Event) -> None:
    """Wait until *work* is done or *event* is set, whichever comes first."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
