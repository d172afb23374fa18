import json
import logging
from io import StringIO

from agent.worker import ForQueue, tidy
from personas.logs import formatter


def record_of(message: str, *args: object, name: str = "agent.call") -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, __file__, 1, message, args, None)


def test_a_record_on_its_way_keeps_its_words_and_its_traceback_apart() -> None:
    record = record_of("room %s failed", "call-_+13125550123_x")
    failure = ValueError("of sip_+13125550123")
    record.exc_info = (ValueError, failure, failure.__traceback__)

    words = ForQueue().format(record)

    assert words == "room call-_+13125550123_x failed"
    assert record.__dict__["exc_info"] is None
    assert "ValueError: of sip" in record.__dict__["exception"]


def test_what_was_to_be_spoken_is_cut_off_an_error() -> None:
    record = record_of("retrying: no audio frames were pushed for text: Hello\nRuth")

    assert ForQueue().format(record) == "retrying: no audio frames were pushed for text: …"


def test_what_comes_from_a_job_process_is_masked_and_said_once() -> None:
    record = record_of("joined call-_+13125550123_x")
    record.message = record.msg
    record.__dict__["room"] = "call-_+13125550123_x"
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(formatter("json"))
    handler.addFilter(tidy)

    handler.handle(record)

    line = json.loads(handler.stream.getvalue())
    assert "message" not in line
    assert "3125550123" not in handler.stream.getvalue()
    assert line["room"] == "call-_[…23]_x"


def test_what_was_said_when_a_model_failed_is_dropped() -> None:
    record = record_of("failed after sending chunk")
    record.__dict__["text_sent"] = "Good day, Ruth"
    record.__dict__["lk.pii.data"] = {"text": "Good day, Ruth"}

    assert tidy(record)
    assert "Ruth" not in repr(record.__dict__)


def test_the_native_sdks_talk_of_leaving_is_dropped() -> None:
    talk = "rtc_session - publisher data channel '_lossy' closed unexpectedly"

    assert not tidy(record_of(talk, name="livekit"))
    assert tidy(record_of("ICE failed", name="livekit"))
    assert tidy(record_of(talk, name="livekit.agents"))
