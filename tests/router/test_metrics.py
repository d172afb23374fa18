"""The names of the metrics are an interface, and docs/metrics.md is its description."""

import re
from pathlib import Path

from router.metrics import PREFIX, Described, Metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def row(one: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in one.labels)
    if one.values:
        labels += f": {', '.join(one.values)}"
    return f"| `{one.name}` | {one.kind} | {labels} | {one.meaning} |"


def test_the_page_lists_every_metric_with_its_labels_and_nothing_else() -> None:
    written = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if PREFIX in line]
    table = [line for line in written if line.startswith(f"| `{PREFIX}")]

    assert table == [row(one) for one in Metrics().catalogue]


def test_the_catalogue_is_what_prometheus_is_shown() -> None:
    metrics = Metrics()
    shown = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in metrics.registry.collect()
    }

    assert {one.name: one.kind for one in metrics.catalogue} == shown


def test_names_say_their_unit_and_labels_are_few() -> None:
    for one in Metrics().catalogue:
        assert re.fullmatch(rf"{PREFIX}[a-z_]+", one.name)
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert one.name.endswith("_seconds") >= (one.kind == "histogram")
        assert len(one.labels) <= 2


def test_what_is_rare_is_there_before_it_happens() -> None:
    metrics = Metrics()
    rare = {"action": "given_up"}

    assert metrics.registry.get_sample_value(f"{PREFIX}recoveries_total", rare) == 0


def test_an_unknown_event_is_counted_as_other() -> None:
    metrics = Metrics()

    metrics.count_event("participant_joined")
    metrics.count_event("+4930901820 rang")

    assert set(metrics.events.by_value) == {"participant_joined", "other"}
