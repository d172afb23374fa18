"""``python -m agent``: run the worker.

Exit: 0 stopped on request, 1 could not work, 3 the environment cannot be used.
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
        sys.stderr.write("".join(f"error {problem}\n" for problem in exc.problems))
        sys.stderr.write("error Set these in the environment or in .env, as the README says.\n")
        return 3
    from agent.worker import serve  # noqa: PLC0415 - takes seconds, which a wrong setting need not

    configure(log_format=settings.log_format, level=settings.log_level)
    return 0 if asyncio.run(serve(settings)) else 1


if __name__ == "__main__":
    sys.exit(main())
