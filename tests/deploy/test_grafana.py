"""The dashboard asks Prometheus for what is there, in expressions that Prometheus reads."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from router.metrics import Metrics
from tests.deploy.metric_names import catalogue, wrong
from tests.deploy.promtool import promtool

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD: Final[dict[str, Any]] = json.loads(
    (FOLDER / "persona-router.json").read_text(encoding="utf-8")
)
PANELS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]
ASKING: Final = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS: Final[list[str]] = [target["expr"] for panel in ASKING for target in panel["targets"]]


def test_it_has_a_row_for_each_question() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]

    assert rows == [
        "Overview",
        "Ring time",
        "Personas",
        "Deliveries",
        "Agents",
        "Faults",
        "Outbound",
    ]


@pytest.mark.parametrize("panel", ASKING, ids=lambda panel: panel["title"])
def test_a_panel_names_metrics_that_are_there_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert wrong(target["expr"]) == []
        assert target["datasource"] == panel["datasource"]


def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    page = tmp_path / "panels.yaml"
    page.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    done = promtool("check", "rules", page)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout


def test_nearly_every_metric_is_on_it() -> None:
    text = "\n".join(EXPRESSIONS)
    shown = {one.name for name, one in catalogue().items() if name in text}

    left_out = {one.name for one in Metrics().catalogue} - shown
    assert left_out == {
        "persona_router_events_total",
        "persona_router_refused_timestamp_seconds",
        "persona_router_journal_total",
        "persona_router_report_events_total",
    }


def test_panels_stand_beside_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_grafana_is_told_where_the_dashboard_is() -> None:
    dashboards = yaml.safe_load((FOLDER / "dashboards.yaml").read_text(encoding="utf-8"))
    source = yaml.safe_load((FOLDER / "datasource.yaml").read_text(encoding="utf-8"))

    [provider] = dashboards["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    assert [one["type"] for one in source["datasources"]] == ["prometheus"]
    [variable] = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
