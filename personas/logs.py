"""One formatter for every logger of a process; phone numbers are masked wherever they stand.

Both processes log here: our own calls through structlog, and uvicorn's, LiveKit's and every other
library's through the standard library's root logger. Room names and participant identities carry
the caller's number, and libraries log them, so the mask sits at the formatter that all of them end
in and not at our own calls. Our own lines pass the root logger by, through the same formatting:
that takes half the time, and the line about a call is a tenth of what the call costs.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Annotated, Any, Literal, TextIO

import structlog
from pydantic import BeforeValidator

LogFormat = Literal["json", "console"]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]

#: Keys whose values are made by us or by LiveKit from random characters, never from a number.
_SAFE_KEYS = frozenset({"timestamp", "level", "logger", "call_id", "version", "event_id", "port"})

# Seven digits or more, with the marks people write between them; or, inside a longer word, ten.
_NUMBER = re.compile(
    r"(?:(?<![^\W_])|(?<=%2B)|(?<=%2b))\+?\d(?:[ ().\-/]{0,2}\d){6,}(?![^\W_])|\+?\d{10,}"
)
_DIGIT = re.compile(r"\d")
_FEWEST_DIGITS = 7
_NOT_A_NUMBER = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2})?"  # a date
    r"|\d{1,3}(?:\.\d{1,3}){3}"  # an address
    r"|\d{1,4}\.\d+"  # a fraction
)


def mask(text: str) -> str:
    """Replace every phone number in *text* by ``[…59]``, of which the last two digits are kept."""

    def hide(found: re.Match[str]) -> str:
        if _NOT_A_NUMBER.fullmatch(found[0]):
            return found[0]
        digits = [char for char in found[0] if char.isdecimal()]
        return f"[…{digits[-2]}{digits[-1]}]"

    # Most texts are short or have few digits, and the search takes longer.
    if len(text) < _FEWEST_DIGITS or len(_DIGIT.findall(text)) < _FEWEST_DIGITS:
        return text
    return _NUMBER.sub(hide, text)


def masked(value: Any) -> Any:
    """Mask every phone number in *value*, however deep; give it in JSON's types."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {masked(key): masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**6 else mask(str(value))
    return mask(str(value))


def _mask_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event.pop("color_message", None)  # uvicorn's second copy of the message, for terminals
    for key, value in event.items():
        if key not in _SAFE_KEYS:
            event[key] = masked(value)
    return event


_OURS: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.StackInfoRenderer(),
)
_SHARED: tuple[structlog.typing.Processor, ...] = (
    *_OURS,
    structlog.stdlib.ExtraAdder(),
    structlog.stdlib.PositionalArgumentsFormatter(),
)


def _rendering(log_format: LogFormat, *, colors: bool) -> tuple[structlog.typing.Processor, ...]:
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    )
    return (
        structlog.processors.format_exc_info,
        _mask_event,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        render,
    )


def formatter(log_format: LogFormat, *, colors: bool = False) -> logging.Formatter:
    """Build the formatter that every handler of a process shares."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(log_format, colors=colors),
        ],
    )


class _Lines:
    """Writes our own lines, formatted already, where *handler* writes everyone else's."""

    def __init__(self, name: str, handler: "logging.StreamHandler[TextIO]") -> None:
        self.name = name
        self._handler = handler

    def _write(self, line: str) -> None:
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(line + handler.terminator)
            handler.stream.flush()
        except (OSError, ValueError):
            pass  # a line that cannot be written must not cost a call
        finally:
            handler.release()

    debug = info = warning = error = critical = _write


def configure(
    *, log_format: LogFormat = "json", level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send every logger of this process through one formatter to *stream* (stderr).

    *level* is a standard level name. Libraries that are chatty at INFO stay at WARNING.
    """
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter(log_format, colors=target.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in list(logging.root.manager.loggerDict):  # handlers that libraries brought along
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for chatty in ("httpx", "httpcore", "alembic", "asyncio", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*_OURS, *_rendering(log_format, colors=target.isatty())],
        logger_factory=lambda name="root": _Lines(name, handler),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )
