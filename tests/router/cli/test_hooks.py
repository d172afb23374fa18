"""`hooks …`, as an operator types it."""

import asyncio
import json
import os
import time

import pytest

from router.db import Store
from router.records.hooks import Hooks
from tests.hook_receiver import SEAL
from tests.router.cli.test_users import _settings, said

__all__ = ["_settings"]  # fixture

URL = "https://crm.example.org/hooks"


def test_a_hook_is_added_listed_changed_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    secret = said(capsys, "hooks", "add", URL, "--event", "call.ended", "--note", "CRM").strip()
    [hook] = json.loads(said(capsys, "hooks", "list", "--json"))

    assert secret.startswith("whsec_")
    assert secret not in json.dumps(hook)
    assert (hook["url"], hook["events"], hook["note"]) == (URL, ["call.ended"], "CRM")
    assert said(capsys, "hooks", "disable", hook["id"]) == "disabled\n"
    assert "disabled (operator)" in said(capsys, "hooks", "list")
    assert said(capsys, "hooks", "enable", hook["id"]) == "enabled\n"
    assert said(capsys, "hooks", "rotate", hook["id"]).startswith("whsec_")
    assert said(capsys, "hooks", "remove", hook["id"]) == "removed\n"
    for verb in ("disable", "enable", "rotate", "remove"):
        assert "hooks list" in said(capsys, "hooks", verb, "x", status=4)


def test_notices_are_listed_and_replayed(
    capsys: pytest.CaptureFixture[str], tmp_path: "os.PathLike[str]"
) -> None:
    said(capsys, "hooks", "add", URL)

    async def alert() -> str:
        store = await Store(f"sqlite:///{os.fspath(tmp_path)}/persona-router.db").open()
        hooks = Hooks(store, clock=time.time, seal=SEAL)
        hooks.alert("given_up", "no agent has come", None)
        await store.flush()
        [hook] = await hooks.all("default")
        await store.aclose()
        return hook.id

    hook_id = asyncio.run(alert())
    [notice] = json.loads(said(capsys, "hooks", "notices", "--json"))

    assert "waiting" in said(capsys, "hooks", "notices", "--hook", hook_id)
    assert said(capsys, "hooks", "notices", "--state", "given_up") == ""
    assert "once more" in said(capsys, "hooks", "replay", str(notice["id"]))
    assert "0 are sent" in said(
        capsys, "hooks", "replay", hook_id, "--since", "2026-01-01", "--until", "2026-01-02"
    )
    assert "no such notice" in said(capsys, "hooks", "replay", "x", status=4)


def test_what_cannot_be_added_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert "public address" in said(capsys, "hooks", "add", "http://127.0.0.1/", status=6)
    assert "call.ended" in said(capsys, "hooks", "add", URL, "--event", "x", status=2)
