"""Runs tools for calls: ``POST /api/calls/{id}/tools/{name}``.

What a call may use is read from the persona that was sent to it, as it is kept here. The agent's
request only names a tool and its arguments: were an agent taken over by what a caller says, it
could not reach more than its persona allows.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
import structlog

from personas.model import Persona
from personas.options import Calendar, PersonaOptions, read_options
from personas.tools import DO_NOT_CALL_TOOL, RECORD, offer
from router.db import Store
from router.errors import ToolRefused
from router.recorder import Recorder
from router.records.appointments import BuiltInCalendar
from router.records.claims import Claims
from router.records.do_not_call import DoNotCall
from router.records.recollection import CallAbout, Recollection, ToldFact
from router.settings import RouterSettings
from router.tools.by_agent import try_out
from router.tools.calcom import CalCom
from router.tools.calendars import CalendarPort, CalendarTools, booking_of
from router.tools.http_tools import Hosts, HttpTools
from router.tools.rehearsed import RehearsedCalendar

log = structlog.get_logger(__name__)

MAX_FACTS: Final = 50
CONNECTION_S: Final = 20.0  # at most; each tool has a deadline of its own
UNKNOWN_CALL: Final = "This cannot be done on this call."
NOT_OFFERED: Final = "There is no such tool on this call."


@dataclass(frozen=True, slots=True)
class _Use:
    """One use of a tool."""

    call_id: str
    about: CallAbout
    options: PersonaOptions
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallToolbox:
    """Looks up what a call may do, and has it done."""

    persona_of: Callable[[str], Awaitable[Persona | None]]  # that was sent to a call last
    recollection: Recollection
    do_not_call: DoNotCall
    calendars: CalendarTools
    http: HttpTools
    recorder: Recorder

    async def run(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> str:
        """Run one tool; return what the model shall hear.

        Raises:
            ToolRefused: it was not done; in words for the model.
            StoreUnavailable: the database did not answer.
        """
        persona = await self.persona_of(call_id)
        about = await self.recollection.about(call_id)
        if persona is None or about is None or about.ended:
            log.warning("tool.refused", call_id=call_id, because="no such call, or it is over")
            raise ToolRefused(UNKNOWN_CALL, status=409)
        return await self._run(call_id, persona, about, name, arguments)

    async def rehearse(
        self, persona: Persona, name: str, arguments: Mapping[str, Any], *, tenant: str
    ) -> str:
        """Run one tool for a call from a hidden number that is none, and keep nothing of it.

        Tools that agents run themselves say what they would.

        Raises:
            ToolRefused, StoreUnavailable: as ``run``.
        """
        options, _ = read_options(persona.document)
        if name in offer(options, direction="inbound").built_in:
            goodbye, at = persona.closing_message, datetime.now(UTC)
            words = try_out(name, arguments, options=options, goodbye=goodbye, at=at)
            if words is not None:
                return words
        ports = {key: RehearsedCalendar(port) for key, port in self.calendars.ports.items()}
        looking = replace(self, calendars=CalendarTools(ports=ports))
        about = CallAbout("inbound", None, None, ended=False, tenant=tenant)
        return await looking._run("", persona, about, name, arguments)  # noqa: SLF001 - its own

    async def _run(
        self,
        call_id: str,
        persona: Persona,
        about: CallAbout,
        name: str,
        arguments: Mapping[str, Any],
    ) -> str:
        options, _ = read_options(persona.document)
        if name == RECORD and options.record and about.room:
            return await self.recorder.start(call_id, about.tenant, about.room)
        offered = offer(options, direction=about.direction)
        use = _Use(call_id, about, options, arguments)
        if name in offered.built_in and name in _BUILT_IN:
            return await _BUILT_IN[name](self, use)
        tool = next((tool for tool in offered.http if tool.name == name), None)
        if tool is None:
            log.warning("tool.refused", call_id=call_id, because="the persona does not allow it")
            raise ToolRefused(NOT_OFFERED, status=404)
        return await self.http.run(tool, arguments)

    async def _recall(self, use: _Use) -> str:
        category, limit = use.arguments.get("category"), use.arguments.get("limit")
        told = await self.recollection.told(
            use.call_id,
            use.about.other_side if use.options.remember else None,
            category=category if isinstance(category, str) and category else None,
            limit=max(1, min(limit, MAX_FACTS)) if isinstance(limit, int) else 10,
            tenant=use.about.tenant,
        )
        return "\n".join(_line(fact) for fact in told)

    async def _forbid(self, use: _Use) -> str:
        number = use.about.other_side
        if not number:
            raise ToolRefused(
                "The number of this call is hidden. Ask which number it is about, and write it"
                " down with share_information."
            )
        reason = str(use.arguments.get("reason") or "")
        await self.do_not_call.add(
            number,
            source="call",
            call_id=use.call_id,
            reason=reason,
            tenant=use.about.tenant,
        )
        log.info("do_not_call.added", call_id=use.call_id, source="call")
        return "It is on the list: this number will not be called again. Say so, and apologise."

    async def _check(self, use: _Use) -> str:
        calendar, zone = _calendar_of(use.options)
        return await self.calendars.check(calendar, zone, use.arguments, use.about.tenant)

    async def _book(self, use: _Use) -> str:
        calendar, zone = _calendar_of(use.options)
        booking = booking_of(
            use.arguments,
            call_id=use.call_id,
            phone=use.about.other_side,
            tenant=use.about.tenant,
        )
        return await self.calendars.book(calendar, zone, use.arguments, booking)


_BUILT_IN: Final[Mapping[str, Callable[[CallToolbox, _Use], Awaitable[str]]]] = {
    "get_shared_information": CallToolbox._recall,  # noqa: SLF001 - its own class
    DO_NOT_CALL_TOOL: CallToolbox._forbid,  # noqa: SLF001
    "check_calendar": CallToolbox._check,  # noqa: SLF001
    "book_appointment": CallToolbox._book,  # noqa: SLF001
}


@asynccontextmanager
async def open_toolbox(
    settings: RouterSettings,
    store: Store,
    appointments: BuiltInCalendar,
    *,
    clock: Callable[[], float],
) -> AsyncIterator[Callable[[Claims, Recorder], CallToolbox]]:
    """Give what makes a toolbox; its connections are open until the block ends."""
    ports: dict[str, CalendarPort] = {"builtin": appointments}
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=CONNECTION_S)
    async with client:
        if key := settings.calcom_api_key.get_secret_value():
            ports["calcom"] = CalCom(client, base=settings.calcom_api_base, api_key=key)

        def toolbox_for(claims: Claims, recorder: Recorder) -> CallToolbox:
            async def persona_of(call_id: str) -> Persona | None:
                spoke = await claims.spoke(call_id)
                return spoke.persona if spoke else None

            return CallToolbox(
                persona_of=persona_of,
                recollection=Recollection(store),
                do_not_call=DoNotCall(store, clock=clock),
                calendars=CalendarTools(ports=ports),
                http=HttpTools(
                    client=client,
                    hosts=Hosts.of(settings.tool_hosts),
                    secrets=settings.tool_secrets_dir,
                ),
                recorder=recorder,
            )

        yield toolbox_for


def _line(fact: ToldFact) -> str:
    if fact.of_this_call:
        return f"- {fact.information} ({fact.category})"
    day = datetime.fromtimestamp(fact.at, UTC)
    return f"- {fact.information} ({fact.category}, told on {day.day} {day:%B %Y})"


def _calendar_of(options: PersonaOptions) -> tuple[Calendar, ZoneInfo]:
    calendar = options.calendar or Calendar()
    return calendar, ZoneInfo(calendar.timezone or options.timezone or "UTC")
