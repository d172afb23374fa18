"""The units start what there is, with settings that there are, and let it end in peace."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from agent.settings import AgentSettings
from personas.settings import Environment, env_names
from router.cli import app
from router.cli.serve import GRACE_S
from router.settings import RouterSettings

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS: Final = sorted(FOLDER.glob("*.service"))
SETTINGS: Final[dict[str, type[Environment]]] = {
    "persona-router": RouterSettings,
    "persona-agent": AgentSettings,
}
AGENT: Final = FOLDER / "persona-agent.service"
ROUTER: Final = FOLDER / "persona-router.service"


def entries(unit: Path, name: str) -> list[str]:
    text = unit.read_text(encoding="utf-8")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def entry(unit: Path, name: str) -> str:
    [only] = entries(unit, name)
    return only


def test_there_is_one_for_each_process() -> None:
    assert [unit.stem for unit in UNITS] == sorted(SETTINGS)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_starts_a_command_that_is_there(unit: Path) -> None:
    program, command = entry(unit, "ExecStart").split()
    group: Any = get_command(app)

    assert program == "/opt/persona-router/bin/persona-router"
    assert command in group.commands


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_sets_settings_that_there_are_and_no_secret(unit: Path) -> None:
    settings = SETTINGS[unit.stem]
    known = {env_names(name, field)[0] for name, field in settings.model_fields.items()}
    given = dict(line.split("=", 1) for line in entries(unit, "Environment"))
    credential = entry(unit, "LoadCredential").split(":")[0]

    assert {name.removesuffix("_FILE") for name in given} - {"HOME"} <= known
    assert given.pop("LIVEKIT_API_SECRET_FILE") == f"%d/{credential}"
    assert all(value.startswith(f"%S/{unit.stem}") for value in given.values())
    assert entry(unit, "StateDirectory") == unit.stem


def test_calls_that_go_on_may_finish() -> None:
    longest_s = AgentSettings.model_fields["agent_max_call_s"].default

    assert int(entry(AGENT, "TimeoutStopSec")) > longest_s
    assert entry(AGENT, "KillMode") == "mixed"  # a call is a process: only the worker is told
    assert int(entry(ROUTER, "TimeoutStopSec")) > GRACE_S + 5
    assert {entry(unit, "Restart") for unit in UNITS} == {"always"}


def test_systemd_reads_them(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("SKIPPED, NOT TESTED: systemd-analyze is missing; it comes with systemd")
    copies = []
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(
            re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        )

    done = subprocess.run(
        [program, "verify", *copies], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
