"""Prometheus' own checker, as Debian's package ``prometheus`` brings it."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.absent import absent

TIMEOUT_S: Final = 120


def promtool(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run it on *text*; where there is none, skip and say so, and fail where ``CI=true``."""
    program = shutil.which("promtool")
    if program is None:
        absent("promtool", "as root on Debian: apt-get install prometheus")
    command = [program, *map(str, arguments)]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
