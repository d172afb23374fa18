"""A clean environment for commands: three settings, a folder of their own."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from personas.settings import env_names
from router.settings import RouterSettings

SECRET = "made-up-secret-made-up-secret-32"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, field in RouterSettings.model_fields.items():
        for variable in env_names(name, field):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LIVEKIT_URL", "ws://127.0.0.1:9")  # nobody listens on the discard port
    monkeypatch.setenv("LIVEKIT_API_KEY", "devkey")
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    monkeypatch.setenv("PERSONA_API_BASE", "off")
    monkeypatch.setenv("DEFAULT_REGION", "US")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
