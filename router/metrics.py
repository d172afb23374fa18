"""Every metric of the router. Labels hold fixed words only: no number, room or name."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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


class Metrics:
    """The router's counters and histograms, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "persona_router_deliveries",
            "Webhook deliveries by what became of them.",
            ["verdict"],
            registry=self.registry,
        )
        self.refused = Counter(
            "persona_router_deliveries_refused",
            "Deliveries without effect by reason.",
            ["reason"],
            registry=self.registry,
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
        self.connections_cut = Counter(
            "persona_router_connections_cut",
            "Connections that were closed before a whole request came, or for room, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.events = Counter(
            "persona_router_events",
            "Verified events by name.",
            ["event"],
            registry=self.registry,
        )
        self.lookups = Counter(
            "persona_router_lookups",
            "Persona lookups by the source that answered.",
            ["source"],
            registry=self.registry,
        )
        self.persona_requests = Counter(
            "persona_router_persona_requests",
            "Requests to the persona API by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.dispatches = Counter(
            "persona_router_dispatches",
            "Dispatches by outcome: done, refused, unknown.",
            ["outcome"],
            registry=self.registry,
        )
        self.stages = Histogram(
            "persona_router_stage_seconds",
            "Time spent in each stage of answering a call.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )

        # Looking a label up takes longer than counting, and this is done for every delivery.
        self._known_events = {name: self.events.labels(name) for name in KNOWN_EVENTS}
        self._other_events = self.events.labels("other")
        self._verdicts: dict[str, Counter] = {}

    def count_event(self, name: str) -> None:
        """Count one verified event."""
        self._known_events.get(name, self._other_events).inc()

    def count_delivery(self, verdict: str) -> None:
        """Count one verified delivery by what became of it, a word of ours."""
        counter = self._verdicts.get(verdict)
        if counter is None:
            counter = self._verdicts[verdict] = self.deliveries.labels(verdict)
        counter.inc()
