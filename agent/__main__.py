"""``python -m agent``: run the worker; with ``talk FILE``, hold one conversation in the terminal.

Exit: 0 stopped on request, 1 could not work, 2 the script of a conversation cannot be used, 3 the
environment cannot be used, 5 a model did not answer, 6 an expectation of a script was not met.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.settings import AgentSettings
from personas.errors import SettingsInvalid
from personas.logs import configure

#: A conversation in the terminal needs no LiveKit, and no settings for it.
NO_LIVEKIT = {
    "livekit_url": "ws://127.0.0.1",
    "livekit_api_key": "none",
    "livekit_api_secret": "none",
}


def main(arguments: Sequence[str] = ()) -> int:
    """Read the environment, then take calls until told to stop, or talk."""
    talks = len(arguments) == 2 and arguments[0] == "talk"  # noqa: PLR2004 - the verb and its file
    if arguments and not talks:
        sys.stderr.write("error usage: python -m agent [talk FILE]\n")
        return 2
    try:
        settings = AgentSettings.load(**(NO_LIVEKIT if talks else {}))
    except SettingsInvalid as exc:
        sys.stderr.write("".join(f"error {problem}\n" for problem in exc.problems))
        sys.stderr.write("error Set these in the environment or in .env, as the README says.\n")
        return 3
    if talks:
        from agent.talk import Rehearsal, talk  # noqa: PLC0415 - as below

        configure(log_format="console", level="ERROR")
        told = Rehearsal.model_validate_json(Path(arguments[1]).read_text(encoding="utf-8"))
        return asyncio.run(talk(settings, told))
    from agent.worker import serve  # noqa: PLC0415 - takes seconds, which a wrong setting need not

    configure(log_format=settings.log_format, level=settings.log_level)
    return 0 if asyncio.run(serve(settings)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
