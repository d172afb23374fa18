"""One trace across router and agent, by OpenTelemetry's API alone: without an SDK nothing happens.

No exporter comes with this. Whoever starts a process under an OpenTelemetry SDK gets its spans; no
number, name or prompt is in them.
"""

from opentelemetry.context import Context
from opentelemetry.trace import (
    ProxyTracer,
    ProxyTracerProvider,
    Tracer,
    get_current_span,
    get_tracer_provider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()
_FIELD = "traceparent"


def is_heard(tracer: Tracer) -> bool:
    """Whether anybody hears of *tracer*'s spans; making them for nobody takes its time too."""
    return not (
        isinstance(tracer, ProxyTracer) and isinstance(get_tracer_provider(), ProxyTracerProvider)
    )


def traceparent() -> str | None:
    """Return the W3C ``traceparent`` of the current span; ``None``: nobody traces."""
    if not get_current_span().get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get(_FIELD)


def context_of(value: str | None) -> Context:
    """Return the context that *value* names, for the spans that follow from it."""
    return _W3C.extract({_FIELD: value} if value else {}, context=Context())
