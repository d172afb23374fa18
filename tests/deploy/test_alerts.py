"""When each alert fires, and when it does not; by promtool, which Prometheus' own rules run in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from typer.main import get_command

from agent.settings import AgentSettings
from personas.settings import env_names
from router.cli import app
from router.metrics import Metrics
from router.settings import RouterSettings
from tests.deploy.metric_names import wrong
from tests.deploy.promtool import promtool

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PREFIX: Final = "persona_router_"
Series = dict[str, str]  # values every 15 s, in promtool's notation


class Case(NamedTuple):
    """Series, by their names without the prefix, with which an alert fires, and without."""

    fires: Series
    silent: Series
    labels: Mapping[str, str] = {}  # that the alert has beside its severity
    minutes: int = 20


STILL: Final = "5x200"
BUSY: Final = "0+10x200"  # forty a minute
ONCE: Final = "0x60 1x140"  # a quarter of an hour in, for good


def action(name: str, values: str, **others: str) -> Series:
    series = {f'recoveries_total{{action="{name}"}}': values}
    return series | {f"{metric}_total": text for metric, text in others.items()}


def histogram(name: str, low: str, high: str, label: str = "") -> Series:
    """Return series of a histogram: what was below *low*'s bound, and the rest."""
    bound, values = low.split("=")
    inside = f"{label}," if label else ""
    return {
        f'{name}_bucket{{{inside}le="{bound}"}}': values,
        f'{name}_bucket{{{inside}le="30.0"}}': high,
        f'{name}_bucket{{{inside}le="+Inf"}}': high,
        f"{name}_count{{{label}}}" if label else f"{name}_count": high,
    }


DONE: Final = 'dispatches_total{outcome="done"}'
UP: Final = 'up{job="persona-router",instance="one"}'
BUILD: Final = 'build_info{version="1",settings="a",instance="%s"}'
OTHER_BUILD: Final = 'build_info{version="2",settings="a",instance="%s"}'
ACCEPTED: Final = 'deliveries_total{verdict="dispatched"}'
REFUSED: Final = 'deliveries_total{verdict="refused"}'

CASES: Final[dict[str, Case]] = {
    "CallsRingLong": Case(
        {"ringing_longest_seconds": "0+15x200"}, {"ringing_longest_seconds": "0 3 12 0 9x200"}
    ),
    "NoAgentComes": Case(
        action("dispatched_again", "0+1x200") | {DONE: "0+2x200"},
        action("dispatched_again", "0+1x200") | {DONE: "0+20x200"},
    ),
    "CallGivenUp": Case(action("given_up", ONCE), action("given_up", STILL)),
    "LastResortUsed": Case(action("last_resort", ONCE), action("last_resort", STILL)),
    "LastResortFailed": Case(
        {'last_resort_total{how="busy"}': ONCE}, {'last_resort_total{how="goodbye"}': ONCE}
    ),
    "AgentsDie": Case(action("resumed", "0x60 4x140"), action("resumed", ONCE)),
    "RingTimeHigh": Case(
        histogram("ring_seconds", "4.0=0+9x200", "0+10x200"),
        histogram("ring_seconds", "4.0=0+99x200", "0+100x200"),
        minutes=30,
    ),
    "AnswersSlow": Case(
        histogram("answer_seconds", "2.0=0+9x200", "0+10x200"),
        histogram("answer_seconds", "2.0=0+99x200", "0+100x200"),
    ),
    "TurnsSlow": Case(
        histogram("turn_seconds", "4.0=0+9x200", "0+10x200", 'stage="total"'),
        histogram("turn_seconds", "4.0=0+9x200", "0+10x200", 'stage="tts"'),
        minutes=40,
    ),
    "AllWebhooksRejected": Case(
        {REFUSED: BUSY, ACCEPTED: STILL}, {REFUSED: BUSY, ACCEPTED: "0+1x200"}
    ),
    "WebhooksRejected": Case(
        {'deliveries_refused_total{reason="bad_token"}': BUSY},
        {'deliveries_refused_total{reason="bad_token"}': ONCE},
    ),
    "WebhooksLost": Case(action("adopted", "0x60 4x140"), action("adopted", ONCE)),
    "DeliveriesShed": Case(
        {'deliveries_total{verdict="put_off"}': "0x60 1+1x140"}, {ACCEPTED: BUSY}, minutes=17
    ),
    "DeliveryCrashed": Case({'deliveries_total{verdict="crashed"}': ONCE}, {ACCEPTED: BUSY}),
    "DispatchesFail": Case(
        {'dispatches_total{outcome="refused"}': "0+1x200", DONE: "0+2x200"},
        {'dispatches_total{outcome="unknown"}': "0+1x200", DONE: "0+20x200"},
    ),
    "PersonaApiDown": Case(
        {'persona_breaker{state="closed",instance="one"}': "1x40 0x160"},
        {'persona_breaker{state="closed",instance="one"}': "1x75 0x3 1x140"},
    ),
    "PersonaApiRefusesUs": Case(
        {'persona_requests_total{outcome="unauthorized"}': ONCE},
        {'persona_requests_total{outcome="ok"}': BUSY},
    ),
    "PersonaApiMismatch": Case(
        {'persona_requests_total{outcome="other_number"}': ONCE},
        {'persona_requests_total{outcome="not_found"}': BUSY},
    ),
    "HousePersonaSpeaks": Case(
        {'calls_total{source="house"}': "0+1x200", 'calls_total{source="api"}': "0+2x200"},
        {'calls_total{source="house"}': "0+1x200", 'calls_total{source="api"}': "0+9x200"},
    ),
    "PersonaMismatched": Case(action("mismatched", ONCE), action("confirmed", BUSY)),
    "RouterDown": Case(
        {UP: "1x60 0x140"},
        {UP: "1x60 0x2 1x140"},
        labels={"job": "persona-router", "instance": "one"},
    ),
    "NoRouter": Case(
        {UP: "0x200"},
        {UP: "0x200", UP.replace("one", "two"): "1x200"},
    ),
    "DatabaseAway": Case(
        {'store_failures_total{reason="timeout"}': "0x60 0+2x140"},
        {'store_failures_total{reason="IntegrityError"}': BUSY, "spare_claims_total": STILL},
    ),
    "DispatchesOwed": Case(
        {"dispatches_owed": "0x40 3x160"}, {"dispatches_owed": "0x70 3x8 0x140"}
    ),
    "SweepNotRunning": Case(
        {'swept_timestamp_seconds{instance="one"}': "0+15x40 600x160"},
        {
            'swept_timestamp_seconds{instance="one"}': "0+15x40 600x160",
            'swept_timestamp_seconds{instance="two"}': "0x40 600+15x160",
        },
    ),
    "ReplicasDisagree": Case(
        {BUILD % "one": "1x200", OTHER_BUILD % "two": "1x200"},
        {BUILD % "one": "1x200", BUILD % "two": "1x200"},
        minutes=40,
    ),
    "JournalDrops": Case(
        {'journal_total{outcome="dropped"}': ONCE}, {'journal_total{outcome="left_out"}': BUSY}
    ),
    "ReportsNotStored": Case(
        {'reports_total{outcome="not_stored"}': BUSY}, {'reports_total{outcome="stored"}': BUSY}
    ),
    "ReportBacklog": Case(
        histogram("report_delay_seconds", "300.0=0+1x200", "0+5x200"),
        histogram("report_delay_seconds", "300.0=0+5x200", "0+5x200"),
        minutes=40,
    ),
    "ReportsRefused": Case(
        {'reports_total{outcome="refused"}': BUSY}, {'reports_total{outcome="refused"}': ONCE}
    ),
    "OptOutNotStored": Case(
        {'opt_outs_total{outcome="not_stored"}': ONCE}, {'opt_outs_total{outcome="stored"}': BUSY}
    ),
    "DialerNotRunning": Case(
        {
            'dialer_timestamp_seconds{instance="one"}': "0+15x200",
            'dialer_timestamp_seconds{instance="two"}': "0+15x40 600x160",
        },
        {
            'dialer_timestamp_seconds{instance="one"}': "0+15x200",
            'dialer_timestamp_seconds{instance="two"}': "0+15x200",
        },
    ),
    "DialsFail": Case(
        {
            'attempts_total{state="failed"}': "0+2x200",
            'attempts_total{state="answered"}': "0+1x200",
        },
        {
            'attempts_total{state="failed"}': "0+1x200",
            'attempts_total{state="no_answer"}': "0+2x200",
        },
    ),
    "DialsUncertain": Case(
        {'attempts_total{state="uncertain"}': ONCE}, {'attempts_total{state="no_answer"}': BUSY}
    ),
    "NoticesGivenUp": Case(
        {'notices_total{outcome="given_up"}': ONCE}, {'notices_total{outcome="failed"}': BUSY}
    ),
    "NoticesUnsigned": Case(
        {'notices_total{outcome="unsigned"}': ONCE}, {'notices_total{outcome="failed"}': BUSY}
    ),
    "ToolsFail": Case(
        {'tool_runs_total{outcome="failed"}': "0+1x200", 'tool_runs_total{outcome="done"}': BUSY}
        | {'tool_runs_total{outcome="done"}': "0+2x200"},
        {'tool_runs_total{outcome="failed"}': "0+1x200", 'tool_runs_total{outcome="done"}': BUSY},
    ),
}


def named(series: Series) -> list[dict[str, str]]:
    return [
        {"series": name if name.startswith("up{") else f"{PREFIX}{name}", "values": values}
        for name, values in series.items()
    ]


def unit(rule: dict[str, Any], case: Case, *, fires: bool) -> dict[str, Any]:
    """Return one of promtool's tests."""
    told = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": rule["annotations"],
    }
    return {
        "interval": "15s",
        "input_series": named(case.fires if fires else case.silent),
        "alert_rule_test": [
            {
                "eval_time": f"{case.minutes}m",
                "alertname": rule["alert"],
                "exp_alerts": [told] if fires else [],
            }
        ],
    }


def test_each_alert_has_a_case() -> None:
    assert [rule["alert"] for rule in RULES] == [*CASES]


def test_each_alert_fires_when_it_should_and_is_silent_when_not(tmp_path: Path) -> None:
    tests = [
        unit(rule, CASES[rule["alert"]], fires=fires) for rule in RULES for fires in (True, False)
    ]
    page = tmp_path / "alerts.test.yaml"
    document = {"rule_files": [str(FOLDER / "alerts.yaml")], "tests": tests}
    page.write_text(yaml.safe_dump(document, sort_keys=False))

    done = promtool("test", "rules", page)

    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    done = promtool("check", "config", FOLDER / "prometheus.yaml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_that_are_there_and_says_what_to_do(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]

    assert wrong(rule["expr"]) == []
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(annotations) == {"summary", "fix"}
    assert annotations["summary"].endswith(".")
    assert len(annotations["fix"]) > len("Restart it; see its log.")
    assert not re.search(r"\{\{|https?://", " ".join(annotations.values()))


def test_what_a_fix_tells_to_run_and_to_set_is_there() -> None:
    text = " ".join(rule["annotations"]["fix"] for rule in RULES)
    group: Any = get_command(app)
    commands = {
        f"{name} {sub}".strip()
        for name, command in group.commands.items()
        for sub in ("", *getattr(command, "commands", ()))
    }
    settings = {
        env_names(name, field)[0]
        for known in (RouterSettings, AgentSettings)
        for name, field in known.model_fields.items()
    }

    named = set(re.findall(r"`persona-router ([a-z]+(?: [a-z]+)?)", text))
    assert {one for one in named if one not in commands} == set()
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) <= settings


def test_bounds_that_rules_name_are_bounds_of_buckets() -> None:
    shown = Metrics().registry.get_sample_value
    text = " ".join(rule["expr"] for rule in RULES)
    named = re.findall(r'(persona_router_[a-z_]+_bucket)\{le="([^"]+)"\}', text)

    assert named
    assert [one for one in named if shown(one[0], {"le": one[1]}) is None] == []


def test_the_job_that_is_watched_is_the_one_that_is_scraped() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    jobs = {one["job_name"] for one in scraped["scrape_configs"]}
    watched = set(re.findall(r'job="([^"]+)"', " ".join(rule["expr"] for rule in RULES)))

    assert jobs == watched
