"""Which tools a persona may use on a call. Pure; the agent offers by it, and the router refuses."""

from dataclasses import dataclass
from typing import Final, Literal

from personas.options import DEFAULT_TOOLS, HttpTool, PersonaOptions

CALENDAR_TOOLS: Final = ("check_calendar", "book_appointment")
TRANSFER_TOOL: Final = "transfer_call"
DO_NOT_CALL_TOOL: Final = "do_not_call"
BUILT_IN_TOOLS: Final = (*DEFAULT_TOOLS, TRANSFER_TOOL, *CALENDAR_TOOLS, DO_NOT_CALL_TOOL)
#: Those that the router runs whatever the persona; HTTP tools, it runs all.
RUN_BY_ROUTER: Final = frozenset({*CALENDAR_TOOLS, DO_NOT_CALL_TOOL})


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be used, in the order of the model's list, and what is wrong with the wishes."""

    built_in: tuple[str, ...] = ()
    http: tuple[HttpTool, ...] = ()
    problems: tuple[str, ...] = ()

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
    problems: list[str] = []
    http = {}
    for tool in options.http_tools:
        if tool.name in BUILT_IN_TOOLS or tool.name in http:
            problems.append(f"http_tools: the name {tool.name} is taken; that tool is left out")
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


def _unusable(name: str, options: PersonaOptions, http: dict[str, HttpTool]) -> str:
    if name == TRANSFER_TOOL and not options.transfer_targets:
        return f"tools: {name} needs transfer_targets; it is left out"
    if name in CALENDAR_TOOLS and options.calendar is None:
        return f"tools: {name} needs a calendar; it is left out"
    if name not in BUILT_IN_TOOLS and name not in http:
        return f"tools: there is no {name}; it is left out"
    return ""
