"""Which tools a persona may use on a call. Pure; the agent offers by it, and the router refuses."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from personas.options import DEFAULT_TOOLS, HttpTool, PersonaOptions

CALENDAR_TOOLS: Final = ("check_calendar", "book_appointment")
TRANSFER_TOOL: Final = "transfer_call"
DO_NOT_CALL_TOOL: Final = "do_not_call"
RECORD: Final = "record_call"  # by the agent itself: no model may use it
BUILT_IN_TOOLS: Final = (*DEFAULT_TOOLS, TRANSFER_TOOL, *CALENDAR_TOOLS, DO_NOT_CALL_TOOL)
#: Those that the router runs whatever the persona; HTTP tools, it runs all.
RUN_BY_ROUTER: Final = frozenset({*CALENDAR_TOOLS, DO_NOT_CALL_TOOL})


def unknown_target(names: Sequence[str]) -> str:
    """Say to the model that callers can be put through to *names* and to nobody else."""
    return f"You can put callers through to these only: {', '.join(names)}."


@dataclass(frozen=True, slots=True)
class Unmet:
    """A wish for a tool that is left out, and what its author can do about it."""

    field: str
    what: str
    fix: str

    def __str__(self) -> str:
        """Say it as logs and records have it."""
        return f"{self.field}: {self.what}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be used, in the order of the model's list, and what is wrong with the wishes."""

    built_in: tuple[str, ...] = ()
    http: tuple[HttpTool, ...] = ()
    problems: tuple[Unmet, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return (*self.built_in, *(tool.name for tool in self.http))

    @property
    def asks_router(self) -> bool:
        """Whether one of them is run by the router on each call."""
        return bool(self.http) or not RUN_BY_ROUTER.isdisjoint(self.built_in)


NO_TOOLS: Final = Offer()


def offer(options: PersonaOptions, *, direction: Literal["inbound", "outbound"]) -> Offer:
    """Pick the tools that *options* allow.

    Without a list of names a persona has the usual four, those that it brings the means for
    (transfer targets, a calendar, HTTP tools), and on outbound calls ``do_not_call``.
    """
    problems: list[Unmet] = []
    http: dict[str, HttpTool] = {}
    for tool in options.http_tools:
        if tool.name in BUILT_IN_TOOLS or tool.name in http:
            what = f"the name {tool.name} is taken; that tool is left out"
            problems.append(Unmet("http_tools", what, "give the tool a name of its own"))
        else:
            http[tool.name] = tool
    if options.tools is None:
        wanted = [*DEFAULT_TOOLS, *http]
        wanted += [TRANSFER_TOOL] if options.transfer_targets else []
        wanted += CALENDAR_TOOLS if options.calendar else []
        wanted += [DO_NOT_CALL_TOOL] if direction == "outbound" else []
    else:
        wanted = list(dict.fromkeys(options.tools))
        problems += [problem for name in wanted if (problem := _unusable(name, options, http))]
    built_in = tuple(
        name for name in BUILT_IN_TOOLS if name in wanted and not _unusable(name, options, http)
    )
    allowed = tuple(tool for tool in http.values() if tool.name in wanted)
    return Offer(built_in, allowed, tuple(problems))


def _unusable(name: str, options: PersonaOptions, http: Mapping[str, HttpTool]) -> Unmet | None:
    if name == TRANSFER_TOOL and not options.transfer_targets:
        fix = "add `transfer_targets`, each with name and number"
        return Unmet("tools", f"{name} needs transfer_targets; it is left out", fix)
    if name in CALENDAR_TOOLS and options.calendar is None:
        fix = "add `calendar`, such as {provider: builtin}"
        return Unmet("tools", f"{name} needs a calendar; it is left out", fix)
    if name not in BUILT_IN_TOOLS and name not in http:
        near = difflib.get_close_matches(name, (*BUILT_IN_TOOLS, *http), 1)
        known = f"there are {', '.join(BUILT_IN_TOOLS)}, and those in `http_tools`"
        fix = f"did you mean `{near[0]}`?" if near else known
        return Unmet("tools", f"there is no {name}; it is left out", fix)
    return None
