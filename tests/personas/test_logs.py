import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from personas.logs import configure, mask

NUMBER = "+13125550159"


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    known = {
        name: (logger.level, logger.propagate, logger.handlers[:])
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    for name, (was_level, propagate, its_handlers) in known.items():
        logger = logging.getLogger(name)
        logger.setLevel(was_level)
        logger.propagate, logger.handlers[:] = propagate, its_handlers


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+13125550159", "[…59]"),
        ("call-_+13125550159_x", "call-_[…59]_x"),
        ("sip_+13125550159", "sip_[…59]"),
        ("/mobile/%2B13125550159", "/mobile/%2B[…59]"),
        ("+1 (312) 555-0159!", "[…59]!"),
        ("030 901820", "[…20]"),
        ("030/90 18 2 0", "[…20]"),
        ("3125550159abc", "[…59]abc"),
        ("\u0663\u0661\u0662\u0665\u0665\u0665\u0660", "[…\u0665\u0660]"),
        ("two: 3125550158 and 3125550159", "two: […58] and […59]"),
    ],
)
def test_a_phone_number_is_masked_wherever_it_stands(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21 08:02:11",
        "192.168.100.200",
        "10.0.0.1:50600",
        "took 1234.567 ms",
        "EV_abc123456",
        "status 500 after 3 tries",
        "port 8080",
    ],
)
def test_what_is_no_phone_number_stays(text: str) -> None:
    assert mask(text) == text


def test_our_events_and_those_of_libraries_end_in_one_formatter() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    structlog.get_logger("ours").info("call.dispatched", room=f"call-{NUMBER}", took_ms=1.5)
    logging.getLogger("livekit").warning("joined %s", f"sip_{NUMBER}", extra={"room": NUMBER})

    ours, theirs = logged(stream)
    assert ours["event"] == "call.dispatched"
    assert (ours["level"], ours["logger"]) == ("info", "ours")
    assert (ours["room"], ours["took_ms"]) == ("call-[…59]", 1.5)
    assert "timestamp" in ours
    assert (theirs["event"], theirs["room"]) == ("joined sip_[…59]", "[…59]")
    assert theirs["level"] == "warning"


def test_numbers_are_masked_in_every_kind_of_value() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    structlog.get_logger().info(
        "looked.at",
        whole=13125550159,
        small=123456,
        yes=True,
        nothing=None,
        listed=[NUMBER],
        keyed={NUMBER: {"deep": (NUMBER,)}},
        other=ValueError(NUMBER),
        call_id="0123456789abcdef",
    )

    (entry,) = logged(stream)
    assert "5550159" not in stream.getvalue()
    assert (entry["whole"], entry["small"]) == ("[…59]", 123456)
    assert (entry["yes"], entry["nothing"]) == (True, None)
    assert entry["keyed"] == {"[…59]": {"deep": ["[…59]"]}}
    assert entry["call_id"] == "0123456789abcdef"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_numbers_are_masked_in_tracebacks(log_format: Any) -> None:
    stream = io.StringIO()
    configure(stream=stream, log_format=log_format)

    try:
        raise ValueError(f"no room for {NUMBER}")  # noqa: TRY301  (a traceback is what is wanted)
    except ValueError:
        structlog.get_logger().exception("call.failed")
        logging.getLogger("library").exception("failed for %s", NUMBER)

    assert stream.getvalue().count("no room for […59]") == 2
    assert "5550159" not in stream.getvalue()


def test_below_the_level_nothing_is_said_and_chatty_libraries_are_quieter() -> None:
    stream = io.StringIO()
    configure(stream=stream, level="info")

    structlog.get_logger().debug("not.shown")
    logging.getLogger("httpx").info("GET %s", NUMBER)
    logging.getLogger("httpx").warning("shown")

    assert [entry["event"] for entry in logged(stream)] == ["shown"]


def test_handlers_that_libraries_brought_along_are_replaced() -> None:
    own = io.StringIO()
    library = logging.getLogger("brought.along")
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    stream = io.StringIO()

    configure(stream=stream)
    library.warning("once")

    assert own.getvalue() == ""
    assert [entry["event"] for entry in logged(stream)] == ["once"]


def test_a_line_that_cannot_be_written_harms_nobody() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    stream.close()

    structlog.get_logger("router").info("call.dispatched")


def test_our_own_lines_look_like_everyone_elses() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    structlog.get_logger("ours").warning("call.dispatched", room=f"call-{NUMBER}", exc_info=True)
    logging.getLogger("theirs").warning("to %s", NUMBER)

    ours, theirs = logged(stream)
    assert ours["room"] == "call-[…59]"
    assert theirs["event"] == "to […59]"
    assert set(theirs) - set(ours) == set()
    assert (ours["logger"], ours["level"]) == ("ours", "warning")


def test_our_own_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure(level="warning", stream=stream)

    structlog.get_logger("ours").info("call.dispatched")

    assert stream.getvalue() == ""
