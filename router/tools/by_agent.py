"""The tools that agents run themselves, tried for nobody: what the model would hear. Pure.

There is no call, so nothing has been told before, nothing is kept, and nobody hangs up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from personas import local_time
from personas.facts import DEFAULT_CATEGORY, NOTHING_YET, Facts, write_down
from personas.options import PersonaOptions
from personas.tools import TRANSFER_TOOL, unknown_target
from router.errors import ToolRefused


@dataclass(frozen=True, slots=True)
class _Trial:
    options: PersonaOptions
    goodbye: str
    arguments: Mapping[str, Any]
    at: datetime

    def text(self, name: str, default: str | None = None) -> str:
        """Return an argument that is text; raises ToolRefused."""
        value = self.arguments.get(name, default)
        if not isinstance(value, str):
            raise ToolRefused(f"Say {name}, as text.")
        return value


def try_out(
    name: str,
    arguments: Mapping[str, Any],
    *,
    options: PersonaOptions,
    goodbye: str | None,
    at: datetime,
) -> str | None:
    """Return what the model would hear of tool *name*; None: no agent runs such a tool.

    *goodbye* is the persona's closing message. Raises ToolRefused where the arguments are wrong.
    """
    run = _TOOLS.get(name)
    return None if run is None else run(_Trial(options, goodbye or "", arguments, at))


def _share(trial: _Trial) -> str:
    information = trial.text("information")
    category = trial.text("category", DEFAULT_CATEGORY)
    _, words = write_down(Facts(), information, category, trial.options.categories)
    return words


def _time(trial: _Trial) -> str:
    return local_time.told(trial.at, trial.options.timezone, None)


def _end(trial: _Trial) -> str:
    trial.text("reason", "")
    return f"The call would end now, with: {trial.goodbye}".removesuffix(", with: ")


def _transfer(trial: _Trial) -> str:
    wanted = trial.text("target").strip().casefold()
    names = [target.name for target in trial.options.transfer_targets]
    found = next((name for name in names if name.casefold() == wanted), None)
    if found is None:
        raise ToolRefused(unknown_target(names))
    return f"The caller would be put through to {found} now."


_TOOLS: Final[Mapping[str, Callable[[_Trial], str]]] = {
    "share_information": _share,
    "get_shared_information": lambda _trial: NOTHING_YET,
    "get_current_time": _time,
    "end_call": _end,
    TRANSFER_TOOL: _transfer,
}
