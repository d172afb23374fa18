"""What the demo takes from the environment: a server binary, the cache folder, the search path."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: Where the toolchain's requirements are in a checkout of the project.
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """``livekit_server`` is LIVEKIT_SERVER; ``environ`` is what child processes start from."""

    livekit_server: Path | None
    cache_dir: Path
    environ: Mapping[str, str]

    @classmethod
    def load(cls) -> Self:
        """Read the environment once."""
        environ = dict(os.environ)
        server = environ.get("LIVEKIT_SERVER")
        cache = environ.get("XDG_CACHE_HOME")
        return cls(
            livekit_server=Path(server) if server else None,
            cache_dir=(Path(cache) if cache else Path.home() / ".cache") / "persona-router",
            environ=environ,
        )
