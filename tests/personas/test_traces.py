"""Whether anybody hears of a span."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracer, get_tracer

from personas.traces import context_of, is_heard, traceparent


def test_without_an_sdk_nobody_hears_of_our_spans() -> None:
    assert not is_heard(get_tracer("persona-router"))


def test_a_tracer_of_somebodys_own_is_heard() -> None:
    assert is_heard(TracerProvider().get_tracer("test"))
    assert is_heard(NoOpTracer())  # who gives one knows why


def test_without_a_span_there_is_no_traceparent() -> None:
    assert traceparent() is None
    assert not context_of(None)
