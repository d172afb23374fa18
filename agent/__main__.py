"""``python -m agent``: run the worker.

Exit: 0 stopped on request, 1 unexpected, 3 the environment cannot be used.
"""

import asyncio
import sys

from agent.settings import AgentSettings
from personas.errors import SettingsInvalid
from personas.logs import configure


def main() -> int:
    """Read the environment, then take calls until told to stop."""
    try:
        settings = AgentSettings.load()
    except SettingsInvalid as exc:
        sys.stderr.write("".join(f"{problem}\n" for problem in exc.problems))
        return 3
    from agent.worker import serve  # noqa: PLC0415 - takes seconds, which a wrong setting need not

    configure(log_format=settings.log_format, level=settings.log_level)
    asyncio.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
