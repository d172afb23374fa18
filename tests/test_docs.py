"""README, CHANGELOG and DESIGN tell the truth, as far as a program can see."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from typer.main import get_command

import personas
from agent.settings import AgentSettings
from personas.settings import Environment, env_names
from router.app import ROUTES
from router.cli import app
from router.settings import RouterSettings

ROOT = Path(personas.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return (
        ""
        if default is None or default == ""
        else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    )


def table(settings: type[Environment]) -> list[str]:
    rows = []
    for name, field in settings.model_fields.items():
        proper, *aliases = env_names(name, field)
        also = "".join(f" (or `{alias}`)" for alias in aliases)
        default = "" if field.default_factory else shown(field.default)
        rows.append(f"| `{proper}`{also} | {default} | {field.description} |")
    return rows


def settings_classes() -> list[type[Environment]]:
    return [RouterSettings, AgentSettings]


@pytest.mark.parametrize("settings", settings_classes())
def test_the_settings_table_equals_the_settings(settings: type[Environment]) -> None:
    missing = [row for row in table(settings) if row not in README]

    assert missing == []


def test_the_readme_has_no_setting_that_is_not_there() -> None:
    known = {
        row.split("|")[1].strip() for settings in settings_classes() for row in table(settings)
    }
    written = {
        line.split("|")[1].strip()
        for line in README.splitlines()
        if re.match(r"\| `[A-Z_]+`", line)
    }

    assert written <= known


def test_every_command_is_in_the_readme() -> None:
    group: Any = get_command(app)
    for name, command in group.commands.items():
        subcommands = getattr(command, "commands", {"": None})
        for sub in subcommands:
            assert f"`{f'{name} {sub}'.strip()}" in README, (name, sub)


def test_every_route_is_in_the_readme() -> None:
    for route in ROUTES:
        if not route.path.startswith("/api/agentic/"):  # the same ones again
            assert f"`{route.path}`" in README


def test_every_make_verb_that_the_readme_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for verb in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb


def test_every_file_that_the_documents_link_to_is_there() -> None:
    for document in ("README.md", "DESIGN.md", "CHANGELOG.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (ROOT / target).exists(), (document, target)


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"## [{personas.__version__}]" in changelog
