"""Child processes: real ones."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.demo.errors import ProcessFailed
from router.demo.processes import Child, answers, free_port

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"


def shell(script: str, tmp_path: Path) -> Child:
    return Child("shell", ["/bin/sh", "-c", script], log_path=tmp_path / "logs" / "shell.log")


async def test_its_output_is_in_the_log_file(tmp_path: Path) -> None:
    child = shell("echo out; echo err >&2; exec sleep 60", tmp_path)

    await child.wait_until(lambda: "err" in child.log(), timeout_s=10, what="output")
    await child.stop()

    assert child.log() == "out\nerr\n"


async def test_stopping_asks_first(tmp_path: Path) -> None:
    child = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done", tmp_path)
    await child.wait_until(lambda: "up" in child.log(), timeout_s=10, what="output")

    assert await child.stop() == 7


async def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = shell(STUBBORN, tmp_path)
    await child.wait_until(lambda: "up" in child.log(), timeout_s=10, what="output")

    assert await child.stop(grace_s=0.1) == -signal.SIGKILL


async def test_an_early_end_is_reported_with_what_it_said(tmp_path: Path) -> None:
    child = shell("echo the port is taken; exit 3", tmp_path)

    with pytest.raises(ProcessFailed, match=r"(?s)shell ended with 3.*the port is taken"):
        await child.wait_until(lambda: False, timeout_s=10, what="answer")


async def test_waiting_has_a_limit(tmp_path: Path) -> None:
    child = shell("exec sleep 60", tmp_path)

    with pytest.raises(ProcessFailed, match=r"shell: no answer in 0\.1 s"):
        await child.wait_until(lambda: False, timeout_s=0.1, what="answer")
    child.kill()


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="cannot be started"):
        Child("x", ["/bin/true"], log_path=tmp_path / "x.log", cwd=tmp_path / "absent")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux only")
async def test_it_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from router.demo.processes import Child\n"
        "log = Path(sys.argv[1])\n"
        "child = Child('c', ['/bin/sh', '-c', 'echo up; exec sleep 60'], log_path=log)\n"
        "while 'up' not in child.log(): pass\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", parent, str(tmp_path / "c.log")],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ended.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while runs(int(ended.stdout)):
        assert time.monotonic() < deadline


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_free_port_answers_nothing() -> None:
    assert not answers(free_port())


def test_ours_is_the_parent(tmp_path: Path) -> None:
    child = shell("exec sleep 60", tmp_path)

    assert child.exit_code is None
    assert os.getpgid(child.pid) == child.pid
    assert child.kill() == -signal.SIGKILL
