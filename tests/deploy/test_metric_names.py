import pytest
from prometheus_client import generate_latest

from router.metrics import Metrics
from tests.deploy.metric_names import wrong
from tests.deploy.promtool import promtool


def test_prometheus_finds_nothing_to_complain_about_in_the_names() -> None:
    page = generate_latest(Metrics().registry).decode()

    done = promtool("check", "metrics", text=page)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        pytest.param('sum(persona_router_calls_total{source="api"})', 0, id="right"),
        pytest.param("rate(persona_router_ring_seconds_bucket[5m])", 0, id="part"),
        pytest.param("persona_router_ring_seconds", 1, id="histogram-without-part"),
        pytest.param("persona_router_calls", 1, id="without-total"),
        pytest.param('persona_router_calls_total{origin="api"}', 1, id="label"),
        pytest.param('persona_router_calls_total{source=~"api|apy"}', 1, id="value"),
        pytest.param("sum by (sourse) (persona_router_calls_total)", 1, id="by"),
    ],
)
def test_what_is_not_there_is_found(expression: str, found: int) -> None:
    assert len(wrong(expression)) == found
