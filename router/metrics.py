"""Every metric of the router. Labels hold fixed words only: no number, room or name.

Names and labels are part of the interface: docs/metrics.md lists them, and a test compares it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from personas.breaker import BREAKER_STATES, BreakerState
from personas.contract import Source

PREFIX: Final = "persona_router_"
#: Upper bounds in seconds: a stage takes from under a millisecond to the three minutes that a phone
#: rings at most.
STAGE_BUCKETS: Final = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 180.0),
)
RING_BUCKETS: Final = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0, 60.0, 180.0)
REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
#: From a report that comes at once to one that waited for a week on the agent's disk.
DELAY_BUCKETS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86_400.0)

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


class Counts(Collector):
    """A counter by one label that the event loop alone counts.

    A delivery is counted twice: prometheus' own counters, with their locks, took a twentieth of
    its processor time.
    """

    def __init__(self, name: str, meaning: str, label: str, values: Sequence[str]) -> None:
        self._described = name, meaning
        self._label = label
        self.by_value = dict.fromkeys(values, 0)

    def inc(self, value: str) -> None:
        """Count one more."""
        self.by_value[value] = self.by_value.get(value, 0) + 1

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Give what is to be told from other metrics."""
        yield CounterMetricFamily(*self._described, labels=[self._label])

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give what was counted."""
        (family,) = self.describe()
        for value, count in list(self.by_value.items()):
            family.add_metric([value], count)
        yield family


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as its documentation has it."""

    name: str  # as Prometheus' queries name it
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    values: tuple[str, ...] = ()  # of the only label: they are there from the start, at 0


class Metrics:
    """The router's counters, gauges and histograms, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.catalogue: list[Described] = []
        self._deliveries()
        self._calls()
        self._personas()
        self._watch()
        self._records()
        self._outbound()
        self._router()

    # ---- what there is ----

    def _deliveries(self) -> None:
        self.deliveries = self._counts(
            "deliveries",
            "Webhook deliveries by what became of them.",
            "verdict",
            (
                *("dispatched", "duplicate", "ignored", "refused", "unknown", "held", "failed"),
                *("put_off", "crashed"),
            ),
        )
        self.refused = self._counters(
            "deliveries_refused", "Deliveries without effect by reason.", "reason"
        )
        self.refused_at = self._gauge(
            "refused_timestamp_seconds", "When a delivery was last refused, by reason.", "reason"
        )
        self.events = self._counts("events", "Verified events by name.", "event")
        self.in_flight = self._gauge("deliveries_in_flight", "Deliveries that are being answered.")
        self.waiting = self._gauge(
            "deliveries_waiting", "Deliveries that wait for a place to be answered."
        )
        self.connections_cut = self._counters(
            "connections_cut",
            "Connections that were cut: no whole request came, for room, or unread, by reason.",
            "reason",
        )

    def _calls(self) -> None:
        self.dispatches = self._counters(
            "dispatches",
            "Dispatches by what LiveKit said of them.",
            "outcome",
            ("done", "refused", "unknown"),
        )
        self.calls = self._counters(
            "calls",
            "Inbound calls to which a first agent was sent, by the source of its persona.",
            "source",
            get_args(Source),
        )
        self.stages = self._timed_by(
            "stage_seconds",
            "Time of each stage of a call: webhook (the caller in the room to the delivery), "
            "verify, queue, claim, persona, dispatch, agent_joined (the dispatch to the agent in "
            "the room), first_word (from there to its first word).",
            "stage",
            STAGE_BUCKETS,
        )
        self.answering = self._timed(
            "answer_seconds",
            "From the delivery of a caller to LiveKit's answer to the dispatch.",
            STAGE_BUCKETS,
        )
        self.ring = self._timed(
            "ring_seconds",
            "From the delivery of a caller to the phone being picked up, as reports tell it.",
            RING_BUCKETS,
        )
        self.calls_closed = self._counters(
            "calls_closed",
            "Records of calls that were closed, by how the call ended; a record that was opened "
            "again counts again.",
            "disposition",
        )
        self.turns = self._timed_by(
            "turn_seconds",
            "How long callers wait for an answer, as reports tell it: total, and of it stt, "
            "end_of_turn, llm, tts.",
            "stage",
            STAGE_BUCKETS,
        )
        self.spare_claims = self._counter(
            "spare_claims",
            "Calls claimed in this process alone because the database was away.",
        )

    def _personas(self) -> None:
        self.lookups = self._counters(
            "lookups", "Persona lookups by the source that answered.", "source"
        )
        self.persona_requests = self._counters(
            "persona_requests",
            "Requests to the persona API by outcome: these, and why an answer was of no use.",
            "outcome",
            (
                *("ok", "not_modified", "not_found", "timeout", "connect", "connection"),
                *("unauthorized", "other_number"),
            ),
        )
        self.persona_api = self._timed(
            "persona_api_seconds", "Time of a request to the persona API.", REQUEST_BUCKETS
        )
        self.breaker = self._gauge(
            "persona_breaker",
            "1 for the state that the persona API's breaker is in: closed, open, half_open.",
            "state",
        )

    def _watch(self) -> None:
        self.recoveries = self._counters(
            "recoveries",
            "What the watch over the rooms had to do.",
            "action",
            (
                *(
                    "confirmed",
                    "adopted",
                    "dispatched_again",
                    "resumed",
                    "mismatched",
                    "last_resort",
                ),
                *("given_up", "room_ended", "sweep_failed"),
            ),
        )
        self.last_resort = self._counters(
            "last_resort",
            "Callers whom the router answered itself, by how that ended.",
            "how",
            ("transferred", "goodbye", "agent_came", "caller_gone", "taken_over", "busy", "failed"),
        )
        self.sweeps = self._timed(
            "sweep_seconds", "Time of one sweep over the rooms.", STAGE_BUCKETS
        )
        self.swept_at = self._gauge(
            "swept_timestamp_seconds", "When this replica last ended a sweep over the rooms."
        )
        self.ringing = self._gauge(
            "calls_ringing",
            "Callers without an agent, as the last sweep saw it; 0 where another replica sweeps.",
        )
        self.ringing_longest = self._gauge(
            "ringing_longest_seconds",
            "How long the caller waits who has waited longest for an agent, as the last sweep saw "
            "it.",
        )

    def _records(self) -> None:
        self.journal = self._counters(
            "journal",
            "Deliveries for the journal; left_out: of a flood.",
            "outcome",
            ("written", "dropped", "left_out"),
        )
        self.journal_waiting = self._gauge(
            "journal_waiting", "Deliveries that wait to be written into the journal."
        )
        self.owed = self._gauge(
            "dispatches_owed", "Dispatches of which the database was not told yet."
        )
        self.reports = self._counters(
            "reports",
            "Agents' reports by outcome.",
            "outcome",
            ("stored", "refused", "not_stored"),
        )
        self.report_intake = self._timed(
            "report_seconds", "Time from a whole report to its being stored.", REQUEST_BUCKETS
        )
        self.report_delay = self._timed(
            "report_delay_seconds",
            "Age of the oldest event in a report when it was stored, by the agent's clock: what "
            "waited on agents' disks.",
            DELAY_BUCKETS,
        )
        self.report_events = self._counters(
            "report_events", "Events that agents reported, by kind.", "kind"
        )
        self.call_problems = self._counters(
            "call_problems", "Problems that agents reported.", "code"
        )
        self.tool_runs = self._counters(
            "tool_runs",
            "Tools that agents had the router run, by outcome.",
            "outcome",
            ("done", "not_done", "refused", "failed"),
        )
        self.notices = self._counters(
            "notices",
            "Tries to tell hooks of events; failed is tried again.",
            "outcome",
            ("delivered", "failed", "given_up", "hook_disabled", "unsigned"),
        )
        self.deleted = self._counters(
            "deleted",
            "Rows that were deleted because of their age, by kind.",
            "kind",
            (
                "calls",
                "transcripts",
                "facts",
                "leads",
                "attempts",
                "notices",
                "appointments",
                "audit",
                "fact_counts",
                "runs",
                "erased_calls",
            ),
        )
        self.opt_outs = self._counters(
            "opt_outs",
            "Wishes not to be called, however they came.",
            "outcome",
            ("stored", "not_stored"),
        )
        self.store = self._timed_by(
            "store_seconds",
            "Time of a transaction that somebody waited for: write, read.",
            "work",
            REQUEST_BUCKETS,
        )
        self.store_failures = self._counters(
            "store_failures",
            "Transactions that the database did not take: it gave no answer in time, or an error "
            "by the name that SQLAlchemy has for it.",
            "reason",
            ("timeout", "OperationalError"),
        )

    def _outbound(self) -> None:
        self.attempts = self._counters(
            "attempts",
            "Dials that are over, by how they ended; uncertain: a phone may have rung.",
            "state",
            (
                *("answered", "no_answer", "busy", "declined", "invalid_number", "voicemail"),
                *("transferred", "canceled", "failed", "uncertain"),
            ),
        )
        self.attempts_open = self._gauge(
            "attempts_open", "Dials that go on, of all replicas, as this one sees it."
        )
        self.dialer_at = self._gauge(
            "dialer_timestamp_seconds", "When the dialer of this replica last ended a turn."
        )

    def _router(self) -> None:
        self.build = self._gauge(
            "build_info",
            "1 for the version that runs, and a fingerprint of the settings that all replicas "
            "must share, keyed so that none can be guessed from it.",
            "version",
            "settings",
        )

    # ---- how it is made ----

    def _described(
        self,
        name: str,
        kind: Literal["counter", "gauge", "histogram"],
        meaning: str,
        labels: Sequence[str] = (),
        values: Sequence[str] = (),
    ) -> str:
        shown = f"{PREFIX}{name}{'_total' if kind == 'counter' else ''}"
        self.catalogue.append(Described(shown, kind, tuple(labels), meaning, tuple(values)))
        return f"{PREFIX}{name}"

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(self._described(name, "counter", meaning), meaning, registry=self.registry)

    def _counters(
        self, name: str, meaning: str, label: str, values: Sequence[str] = ()
    ) -> ByLabel[Counter]:
        """Make a counter by *label*; *values* begin at 0, or nobody would see the first of them."""
        described = self._described(name, "counter", meaning, [label], values)
        counters = ByLabel(Counter(described, meaning, [label], registry=self.registry))
        for value in values:
            counters[value].inc(0)
        return counters

    def _counts(self, name: str, meaning: str, label: str, values: Sequence[str] = ()) -> Counts:
        """Make a counter as ``_counters`` does, for what every delivery counts."""
        described = self._described(name, "counter", meaning, [label], values)
        counts = Counts(described, meaning, label, values)
        self.registry.register(counts)
        return counts

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        described = self._described(name, "gauge", meaning, labels)
        return Gauge(described, meaning, labels, registry=self.registry)

    def _timed(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        described = self._described(name, "histogram", meaning)
        return Histogram(described, meaning, buckets=buckets, registry=self.registry)

    def _timed_by(
        self, name: str, meaning: str, label: str, buckets: Sequence[float]
    ) -> ByLabel[Histogram]:
        described = self._described(name, "histogram", meaning, [label])
        return ByLabel(
            Histogram(described, meaning, [label], buckets=buckets, registry=self.registry)
        )

    # ---- what takes more than one step ----

    def count_event(self, name: str) -> None:
        """Count one verified event."""
        self.events.inc(name if name in KNOWN_EVENTS else "other")

    def note_request(self, outcome: str, took_s: float) -> None:
        """Count one request to the persona API."""
        self.persona_requests[outcome].inc()
        self.persona_api.observe(took_s)

    def note_work(self, work: str, took_s: float, failure: str | None) -> None:
        """Count what somebody waited for of the database; *failure*: why it was not done."""
        self.store[work].observe(took_s)
        if failure is not None:
            self.store_failures[failure].inc()

    def count_opt_outs(self, outcome: str, wishes: int) -> None:
        """Count wishes not to be called."""
        self.opt_outs[outcome].inc(wishes)

    def watch_breaker(self, state: Callable[[], BreakerState]) -> None:
        """Show what *state* says whenever the metrics are read."""
        for name in BREAKER_STATES:
            self.breaker.labels(name).set_function(partial(_shown, name, state))


def _shown(name: BreakerState, state: Callable[[], BreakerState]) -> float:
    return float(state() == name)
