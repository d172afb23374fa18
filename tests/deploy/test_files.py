"""What deploy/ holds is consistent, as far as files can be."""

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from livekit import api

from router.demo import binary
from router.demo.livekit_server import WEBHOOK_EVENTS

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile.*"))
REQUIREMENTS = sorted((DEPLOY / "requirements").glob("*.txt"))


def livekit_file(name: str) -> Any:
    text = (DEPLOY / "livekit" / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


# ---- LiveKit -----------------------------------------------------------------------------------


def test_the_dispatch_rule_catches_every_call_into_rooms_of_their_own_and_names_no_agent() -> None:
    document = livekit_file("dispatch-rule.json")

    rule = ParseDict(document, api.CreateSIPDispatchRuleRequest()).dispatch_rule

    assert rule.rule.dispatch_rule_individual.room_prefix == "call-"
    assert not rule.rule.dispatch_rule_individual.no_randomness
    assert not rule.numbers
    assert not rule.inbound_numbers
    assert not rule.trunk_ids
    assert not rule.hide_phone_number
    assert not rule.HasField("room_config")
    assert "agents" not in json.dumps(document)


def test_the_inbound_trunk_is_one_that_livekit_accepts() -> None:
    request = ParseDict(livekit_file("inbound-trunk.json"), api.CreateSIPInboundTrunkRequest())

    assert request.trunk.name
    assert request.trunk.numbers or request.trunk.allowed_addresses  # else LiveKit refuses it


def test_livekit_sends_the_router_what_it_needs_and_nothing_before_it() -> None:
    webhook = livekit_file("livekit.yaml")["webhook"]

    assert webhook["filter_params"]["include_events"] == list(WEBHOOK_EVENTS)
    assert webhook["urls"] == ["http://router:8080/livekit-webhook"]
    assert SERVICES["router"]["environment"]["PORT"] == "8080"


def test_livekits_files_hold_no_secret() -> None:
    for name in ("livekit.yaml", "sip.yaml"):
        assert not {"keys", "api_secret"} & set(livekit_file(name))


# ---- compose -----------------------------------------------------------------------------------


def test_every_service_is_pinned_or_built_here() -> None:
    for service in SERVICES.values():
        if "image" in service:
            assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+[\w.-]*", service["image"])
        else:
            built = DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
            assert built.resolve() in DOCKERFILES


def test_compose_runs_the_server_that_the_tests_ran_with() -> None:
    assert SERVICES["livekit"]["image"].endswith(f":v{binary.VERSION}")


def test_every_service_has_a_health_check_of_its_own_or_in_its_dockerfile() -> None:
    for service in SERVICES.values():
        if "healthcheck" not in service:
            dockerfile = DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
            assert "HEALTHCHECK" in dockerfile.read_text(encoding="utf-8")


def test_services_name_only_services_that_are_there() -> None:
    hosts = re.compile(r"(?:\w+://)?([a-z][a-z-]*):\d{4}\b")
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for dependency in service.get("depends_on", {}).values():
            assert dependency["condition"] == "service_healthy"
        for value in service.get("environment", {}).values():
            assert set(hosts.findall(value)) <= set(SERVICES)
    for name in ("livekit.yaml", "sip.yaml"):
        for line in (DEPLOY / "livekit" / name).read_text(encoding="utf-8").splitlines():
            if not line.lstrip().startswith("#"):
                assert set(hosts.findall(line)) <= set(SERVICES)


def test_services_mount_only_files_that_are_there_and_volumes_that_are_declared() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() or source in COMPOSE["volumes"]


def test_the_gateway_publishes_the_ports_that_it_uses() -> None:
    gateway = livekit_file("sip.yaml")
    ports = SERVICES["sip"]["ports"]

    assert f"{gateway['sip_port']}:{gateway['sip_port']}/udp" in ports
    assert f"{gateway['rtp_port']}:{gateway['rtp_port']}/udp" in ports
    assert f"/{gateway['health_port']} " in SERVICES["sip"]["healthcheck"]["test"][-1]


# ---- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_runs_as_a_user_without_rights_and_copies_only_what_is_there(
    dockerfile: Path,
) -> None:
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    final = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    copied = [
        path
        for line in lines
        if line.startswith("COPY ") and "--from=" not in line
        for path in line.split()[1:-1]
    ]
    allowed = {
        line.removeprefix("!")
        for line in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }

    assert users == ["10001"]
    assert copied
    for path in copied:
        assert (PROJECT / path).exists()
        assert any(path == one or path.startswith(f"{one}/") for one in allowed)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_starts_from_a_pinned_name_and_installs_by_hash(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip install [^&\n]*", text)

    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11-slim"}
    assert installs
    assert all("--require-hashes" in one or "--no-deps" in one for one in installs)


# ---- requirements ------------------------------------------------------------------------------


def test_every_requirement_file_is_there() -> None:
    assert [path.stem for path in REQUIREMENTS] == ["agent", "build", "dev", "go", "router"]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_by_hash_and_name_no_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?! )", text) if entry.strip()]

    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9][\w.-]*(\[[\w,-]+\])?==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in text
    assert "index-url" not in text


@pytest.mark.parametrize("stem", ["router", "agent", "build"])
def test_images_hold_the_versions_that_the_tests_ran_with(stem: str) -> None:
    def pins(name: str) -> set[str]:
        text = (DEPLOY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        return set(re.findall(r"^[A-Za-z0-9][^ ]*==[^ ;\\]+", text, re.MULTILINE))

    assert pins(stem) <= pins("dev")


@pytest.mark.parametrize(
    "script", ["dev/setup.sh", "dev/system-packages.sh", "requirements/lock.sh", "../.ci/run"]
)
def test_scripts_can_be_run(script: str) -> None:
    assert (DEPLOY / script).stat().st_mode & stat.S_IXUSR
