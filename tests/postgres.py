"""A real PostgreSQL server for one test run, on loopback and a free port."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

HOW = "install PostgreSQL (Debian: apt-get install postgresql) or put initdb on PATH"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server."""

    port: int
    start: Callable[[], None]  # again, after `kill`
    data: Path

    def kill(self) -> None:
        """End it as ``kill -9`` does, with whatever it was doing."""
        pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(pid, signal.SIGKILL)

    def url(self, database: str = "postgres") -> str:
        """Address of one database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, like: str = "template1") -> str:
        """Create a copy of the database *like*, which is empty, and return its address."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"'.encode())
        return self.url(name)


def binaries() -> Path | None:
    """Folder of initdb and postgres, or None where there is no PostgreSQL."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def running(place: Path | None = None) -> Iterator[Postgres]:
    """Start a server with an empty cluster, in a folder *place*; stop it and remove the cluster."""
    folder = binaries()
    assert folder is not None, HOW
    root = os.geteuid() == 0  # PostgreSQL refuses to run as root
    user = pwd.getpwnam("postgres").pw_name if root else None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Path(tempfile.mkdtemp(prefix="persona-router-postgres-", dir=place))
    if user:
        shutil.chown(cluster, user)

    def run(*command: str | Path) -> None:
        out, errors = subprocess.DEVNULL, subprocess.PIPE
        subprocess.run(command, check=True, stdout=out, stderr=errors, user=user, cwd=cluster)

    try:
        data = cluster / "data"
        run(folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N")
        control = (folder / "pg_ctl", "-D", data, "-l", cluster / "log", "-w")

        def start() -> None:
            run(*control, "-o", f"-h 127.0.0.1 -p {port} -k {cluster} -F", "start")

        start()
        try:
            yield Postgres(port, start, data)
        finally:
            run(*control, "-m", "immediate", "stop")  # nobody needs what is in it
    finally:
        shutil.rmtree(cluster, ignore_errors=True)
