"""Every metric of the router. Labels hold fixed words only: no number, room or name."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from personas.breaker import BREAKER_STATES, BreakerState

#: Upper bounds in seconds: a stage of answering takes from under a millisecond to the budget.
STAGE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)

#: Names that LiveKit sends; any other is counted as "other", so that a label cannot grow.
KNOWN_EVENTS = frozenset(
    {
        "room_started",
        "room_finished",
        "participant_joined",
        "participant_left",
        "participant_connection_aborted",
        "track_published",
        "track_unpublished",
        "egress_started",
        "egress_updated",
        "egress_ended",
        "ingress_started",
        "ingress_ended",
    }
)


_M = TypeVar("_M", Counter, Histogram)


class ByLabel(dict[str, _M]):
    """The series of a metric that has one label, by its value.

    A delivery touches several: ``labels()`` takes thrice the time of counting.
    """

    def __init__(self, metric: _M) -> None:
        super().__init__()
        self._series: Callable[[str], _M] = metric.labels

    def __missing__(self, value: str) -> _M:
        series = self[value] = self._series(value)
        return series


class Metrics:
    """The router's counters and histograms, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = self._counter(
            "deliveries", "Webhook deliveries by what became of them.", "verdict"
        )
        self.refused = self._counter(
            "deliveries_refused", "Deliveries without effect by reason.", "reason"
        )
        self.events = self._counter("events", "Verified events by name.", "event")
        self.lookups = self._counter(
            "lookups", "Persona lookups by the source that answered.", "source"
        )
        self.persona_requests = self._counter(
            "persona_requests", "Requests to the persona API by outcome.", "outcome"
        )
        self.dispatches = self._counter(
            "dispatches", "Dispatches by outcome: done, refused, unknown.", "outcome"
        )
        self.refused_at = Gauge(
            "persona_router_refused_timestamp_seconds",
            "When a delivery was last refused, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "persona_router_deliveries_in_flight",
            "Deliveries that are being answered.",
            registry=self.registry,
        )
        self.connections_cut = self._counter(
            "connections_cut",
            "Connections that were closed before a whole request came, or for room, by reason.",
            "reason",
        )
        self.stages = ByLabel(
            Histogram(
                "persona_router_stage_seconds",
                "Time spent in each stage of answering a call.",
                ["stage"],
                buckets=STAGE_BUCKETS,
                registry=self.registry,
            )
        )
        self.spare_claims = Counter(
            "persona_router_spare_claims",
            "Calls claimed in this process alone because the database was away.",
            registry=self.registry,
        )
        self.recoveries = self._counter(
            "recoveries", "What the watch over the rooms had to do.", "action"
        )
        self.last_resort = self._counter(
            "last_resort", "Callers whom the router answered itself, by how that ended.", "how"
        )
        self.journal = self._counter(
            "journal",
            "Deliveries for the journal: written, dropped, left_out (of a flood).",
            "outcome",
        )
        self.reports = self._counter(
            "reports", "Agents' reports by outcome: stored, refused, not_stored.", "outcome"
        )
        self.report_events = self._counter(
            "report_events", "Events in stored reports, repeated ones included, by kind.", "kind"
        )
        self.call_problems = self._counter(
            "call_problems", "Problems that agents reported, repeated ones included.", "code"
        )
        self.tool_runs = self._counter(
            "tool_runs",
            "Tools that agents had the router run: done, not_done, refused, failed.",
            "outcome",
        )
        self.notices = self._counter(
            "notices",
            "Tries to tell hooks of events: delivered, failed (tried again), given_up, "
            "hook_disabled.",
            "outcome",
        )
        self.breaker = Gauge(
            "persona_router_persona_breaker",
            "1 for the state that the persona API's breaker is in: closed, open, half_open.",
            ["state"],
            registry=self.registry,
        )
        self.sweeps = Histogram(
            "persona_router_sweep_seconds",
            "Time of one sweep over the rooms.",
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )

    def _counter(self, name: str, documentation: str, label: str) -> ByLabel[Counter]:
        return ByLabel(
            Counter(f"persona_router_{name}", documentation, [label], registry=self.registry)
        )

    def count_event(self, name: str) -> None:
        """Count one verified event."""
        self.events[name if name in KNOWN_EVENTS else "other"].inc()

    def watch_breaker(self, state: Callable[[], BreakerState]) -> None:
        """Show what *state* says whenever the metrics are read."""
        for name in BREAKER_STATES:
            self.breaker.labels(name).set_function(partial(_shown, name, state))


def _shown(name: BreakerState, state: Callable[[], BreakerState]) -> float:
    return float(state() == name)
