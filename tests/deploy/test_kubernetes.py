"""The manifests agree with the images, the settings and each other, as far as files can."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import personas
from agent.settings import AgentSettings
from personas.settings import Environment, env_names
from router.app import ROUTES
from router.cli.serve import GRACE_S
from router.settings import RouterSettings

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION: Final[dict[str, Any]] = yaml.safe_load(
    (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
)
DOCUMENTS: Final[list[dict[str, Any]]] = [
    document
    for name in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
]
CONFIG: Final[dict[str, str]] = next(one["data"] for one in DOCUMENTS if one["kind"] == "ConfigMap")
DEPLOYMENTS: Final = [one for one in DOCUMENTS if one["kind"] == "Deployment"]
SECRET_NAMES: Final = re.compile(r"(SECRET|TOKEN|_KEYS?|URL)$")
OPEN: Final = {"LIVEKIT_URL", "LIVEKIT_API_KEY", "PUBLIC_URL"}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    [only] = pod(deployment)["containers"]
    found: dict[str, Any] = only
    return found


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [one for one in DOCUMENTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    return CONFIG | {one["name"]: one["value"] for one in container(deployment)["env"]}


def known(settings: type[Environment]) -> set[str]:
    return {env_names(name, field)[0] for name, field in settings.model_fields.items()}


def test_every_file_is_applied() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert set(KUSTOMIZATION["resources"]) == files


def test_the_images_are_of_this_version() -> None:
    tags = {one["name"]: one["newTag"] for one in KUSTOMIZATION["images"]}

    assert tags == {container(one)["image"]: personas.__version__ for one in DEPLOYMENTS}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_secrets_come_by_reference_alone(deployment: dict[str, Any]) -> None:
    given = environment(deployment)

    assert {one["kind"] for one in DOCUMENTS}.isdisjoint({"Secret"})
    assert {"secretRef": {"name": "persona-router"}} in container(deployment)["envFrom"]
    assert {name for name in given if SECRET_NAMES.search(name)} <= OPEN


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_every_setting_is_one(deployment: dict[str, Any]) -> None:
    assert set(environment(deployment)) <= known(RouterSettings) | known(AgentSettings)


def test_the_settings_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        key: value for one in DEPLOYMENTS for key, value in environment(one).items()
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LIVEKIT_API_SECRET", "made-up-secret-of-more-than-32-bytes")

    router, agent = RouterSettings.load(), AgentSettings.load()

    assert router.agent_to_dispatch == agent.agent_to_dispatch
    grace_s = pod(named("Deployment", "persona-agent"))["terminationGracePeriodSeconds"]
    assert grace_s > agent.agent_max_call_s


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_a_container_has_no_rights_that_it_does_not_need(deployment: dict[str, Any]) -> None:
    rights, own = pod(deployment)["securityContext"], container(deployment)["securityContext"]

    assert (rights["runAsNonRoot"], rights["runAsUser"]) == (True, 10001)
    assert own["readOnlyRootFilesystem"]
    assert not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert not pod(deployment)["automountServiceAccountToken"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_what_is_written_goes_to_a_volume(deployment: dict[str, Any]) -> None:
    mounts = {one["name"]: one["mountPath"] for one in container(deployment)["volumeMounts"]}
    given = environment(deployment)
    written = [given[name] for name in ("STATE_DIR", "REPORT_SPOOL_DIR") if name in given]

    assert {one["name"] for one in pod(deployment)["volumes"]} == set(mounts)
    assert written
    assert all(any(path.startswith(mount) for mount in mounts.values()) for path in written)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_labels_budget_and_rollout_fit(deployment: dict[str, Any]) -> None:
    name = deployment["metadata"]["name"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    budget = named("PodDisruptionBudget", name)

    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_probes_ask_what_is_there(deployment: dict[str, Any]) -> None:
    ports = {one["name"]: one["containerPort"] for one in container(deployment)["ports"]}
    probes = {key: one["httpGet"] for key, one in container(deployment).items() if "Probe" in key}
    given = environment(deployment)
    paths = {route.path for route in ROUTES} if "PORT" in given else {"/"}

    assert {"startupProbe", "livenessProbe"} <= set(probes)
    for probe in probes.values():
        assert probe["path"] in paths
        assert f"{ports[probe['port']]}" == given.get("PORT", given.get("AGENT_HEALTH_PORT"))


def test_a_router_without_its_database_stays_in_the_service() -> None:
    router = container(named("Deployment", "persona-router"))

    assert router["readinessProbe"]["httpGet"]["path"] == "/healthz"  # no I/O


def test_a_router_has_the_time_that_it_takes_to_stop() -> None:
    router = named("Deployment", "persona-router")
    [_, pause_s] = container(router)["lifecycle"]["preStop"]["exec"]["command"]

    assert pod(router)["terminationGracePeriodSeconds"] > int(pause_s) + GRACE_S + 5


def test_agents_report_to_the_service() -> None:
    service = named("Service", "persona-router")
    [port] = service["spec"]["ports"]
    router = named("Deployment", "persona-router")

    assert CONFIG["PUBLIC_URL"] == f"http://{service['metadata']['name']}:{port['port']}"
    assert service["spec"]["selector"] == router["spec"]["template"]["metadata"]["labels"]
