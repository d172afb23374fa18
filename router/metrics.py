"""Every metric of the router. Labels hold fixed words only: no number, room or name."""

from prometheus_client import CollectorRegistry, Counter, Histogram

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
        self.journal = Counter(
            "persona_router_journal",
            "Deliveries for the journal: written, dropped, left_out (of a flood that is not ours).",
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

    def count_event(self, name: str) -> None:
        """Count one verified event."""
        self.events.labels(name if name in KNOWN_EVENTS else "other").inc()
