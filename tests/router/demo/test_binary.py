"""Where livekit-server comes from; Go and pip are stand-ins that are real programs."""

import os
import stat
import threading
from pathlib import Path

import pytest

from router.demo import binary
from router.demo.errors import SetupFailed
from router.demo.settings import DemoSettings

BUILDS = """
[ "$1" = env ] && { echo go1.26.1; exit; }
env > "$GOTMPDIR/../environment"
echo "$@" >> "$GOTMPDIR/../arguments"
mkdir -p "$GOBIN" && echo built > "$GOBIN/server"
"""
TOO_OLD = "echo go1.24.9"
FAILS = '[ "$1" = env ] && { echo go1.27.0; exit; }\necho no route to the module proxy; exit 1'


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def settings(tmp_path: Path, *, named: Path | None = None, **environ: str) -> DemoSettings:
    path = f"{tmp_path / 'path'}:/usr/bin:/bin"
    return DemoSettings(named, tmp_path / "cache", {"PATH": path, **environ})


def test_a_named_program_comes_first(tmp_path: Path) -> None:
    named = program(tmp_path, "mine", "")
    program(tmp_path / "path", "livekit-server", "")

    assert binary.find(settings(tmp_path, named=named)) == named


def test_a_name_that_is_no_program_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "path", "livekit-server", "")

    with pytest.raises(SetupFailed, match=r"LIVEKIT_SERVER names .* which is not a program"):
        binary.find(settings(tmp_path, named=tmp_path / "absent"))


def test_path_comes_before_the_cache(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    program(binary.cached(chosen).parent.parent, "x", "")
    program(binary.cached(chosen).parent, binary.cached(chosen).name, "")
    assert binary.find(chosen) == binary.cached(chosen)

    on_path = program(tmp_path / "path", "livekit-server", "")

    assert binary.find(chosen) == on_path


def test_it_is_built_once_with_go_from_path(tmp_path: Path) -> None:
    program(tmp_path / "path", "go", BUILDS)
    chosen = settings(tmp_path)
    said: list[str] = []

    first = binary.ensure(chosen, said.append)
    second = binary.ensure(chosen, said.append)

    assert first == second == binary.cached(chosen)
    assert first.read_text(encoding="utf-8") == "built\n"
    arguments = (tmp_path / "cache" / "arguments").read_text(encoding="utf-8").splitlines()
    assert arguments == [f"install -v -modcacherw {binary.SOURCE}"]
    assert not (tmp_path / "cache" / "build").exists()
    assert any("building livekit-server" in line for line in said)


def test_the_build_keeps_proxies_and_drops_what_would_steer_it_elsewhere(tmp_path: Path) -> None:
    program(tmp_path / "path", "go", BUILDS)
    chosen = settings(
        tmp_path,
        GOFLAGS="-mod=vendor",
        GOTOOLCHAIN="go1.21.0",
        GOOS="plan9",
        GOPROXY="off",
        GOBIN="/nowhere",
    )

    binary.ensure(chosen, lambda _: None)

    lines = (tmp_path / "cache" / "environment").read_text(encoding="utf-8").splitlines()
    seen = dict(line.partition("=")[::2] for line in lines)
    assert seen["GOFLAGS"] == "-buildvcs=false"
    assert seen["GOTOOLCHAIN"] == "local"
    assert seen["GOPROXY"] == "off"
    assert seen["CGO_ENABLED"] == "0"
    assert "GOOS" not in seen


def test_a_build_that_fails_says_what_go_said_and_how_to_get_the_server_elsewhere(
    tmp_path: Path,
) -> None:
    program(tmp_path / "path", "go", FAILS)

    with pytest.raises(SetupFailed, match=r"(?s)no route to the module proxy.*LIVEKIT_SERVER"):
        binary.ensure(settings(tmp_path), lambda _: None)


def test_go_that_is_too_old_gives_way_to_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "path", "go", TOO_OLD)
    monkeypatch.setattr(binary, "PROJECT", tmp_path)  # no requirement files: nothing is fetched

    with pytest.raises(SetupFailed, match=r"Go 1\.26 or newer is not on PATH"):
        binary.ensure(settings(tmp_path), lambda _: None)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", encoding="utf-8")

    with pytest.raises(SetupFailed, match="XDG_CACHE_HOME"):
        binary.ensure(settings(tmp_path), lambda _: None)


def test_two_at_once_build_once(tmp_path: Path) -> None:
    program(tmp_path / "path", "go", BUILDS)
    chosen = settings(tmp_path)
    builders = [
        threading.Thread(target=binary.ensure, args=(chosen, lambda _: None)) for _ in range(2)
    ]

    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    arguments = (tmp_path / "cache" / "arguments").read_text(encoding="utf-8").splitlines()
    assert len(arguments) == 1


def test_the_environment_names_binary_and_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_SERVER", "/opt/livekit-server")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    found = DemoSettings.load()

    assert found.livekit_server == Path("/opt/livekit-server")
    assert found.cache_dir == tmp_path / "persona-router"
    assert found.environ["PATH"] == os.environ["PATH"]


def test_without_a_name_the_cache_is_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIVEKIT_SERVER", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    found = DemoSettings.load()

    assert found.livekit_server is None
    assert found.cache_dir == tmp_path / ".cache" / "persona-router"
