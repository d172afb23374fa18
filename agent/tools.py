"""The tools that the model may use in a call, by the persona's allow-list.

What goes wrong in a tool reaches the model as a sentence; nothing here raises into the session but
``StopResponse``, which says that there is nothing left to say. Descriptions are written for the
model. Words of callers are in a call's record and never in a log.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Protocol

import structlog
from livekit.agents import RunContext, StopResponse, function_tool, llm
from pydantic import Field

from agent import job
from agent.errors import ToolUnavailable, TransferFailed
from agent.report import Reporter
from personas import local_time
from personas.facts import NOTHING_YET, Facts, read_back, write_down
from personas.options import HttpTool, PersonaOptions, TransferTarget
from personas.reports import Fact, ToolCall
from personas.tools import (
    CALENDAR_TOOLS,
    DO_NOT_CALL_TOOL,
    NO_TOOLS,
    RUN_BY_ROUTER,
    Offer,
    Unmet,
    offer,
    unknown_target,
)

log = structlog.get_logger(__name__)

ROUTER_TOOL_TIMEOUT_S: Final = 8.0
ROUTER_MARGIN_S: Final = 2.0  # beside what the HTTP request of a tool may take
CAMPAIGN_LAYOUT: Final = "campaign call"

FAILED: Final = "That did not work. Say so, and go on without it."
CALENDAR_AWAY: Final = (
    "The calendar cannot be reached. Tell the caller that you cannot see or make appointments at"
    " the moment, and offer to write down when they would like one."
)


class Line(Protocol):
    """What a tool may do with the call itself."""

    async def hang_up(self, reason: str, *, detail: str = "", spoken: str = "") -> None:
        """Say goodbye, in full, and end the call.

        *reason* is for logs, *detail* for the record alone; *spoken* is what was said in this turn.
        """
        ...

    async def transfer(self, target: TransferTarget) -> None:
        """Announce it, and hand the caller on.

        Raises:
            TransferFailed: in words for the model; the caller is still there.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the tools of one call work with."""

    options: PersonaOptions
    reporter: Reporter
    line: Line
    facts: Facts = field(default_factory=Facts)
    other_side: str | None = None  # E.164
    now: Callable[[], datetime] = local_time.now

    async def use(self, name: str, work: Awaitable[str]) -> str:
        """Do *work* and note how it went; give what the model is told."""
        began = time.perf_counter()
        ok, detail, words = False, "", FAILED
        try:
            words = await work
            ok = True
        except StopResponse:
            ok = True
            raise
        except (ToolUnavailable, TransferFailed) as exc:
            detail = words = exc.reason
        except asyncio.CancelledError:
            detail = "interrupted"
            raise
        except Exception as exc:
            detail = type(exc).__name__
            log.exception("tool.crashed", tool=name)
        finally:
            took_ms = round((time.perf_counter() - began) * 1000, 1)
            self.reporter.note(ToolCall(name=name, ok=ok, duration_ms=took_ms, detail=detail))
            log.info("tool.used", tool=name, ok=ok, duration_ms=took_ms)
        return words

    async def ask_router(
        self, name: str, arguments: Mapping[str, Any], deadline_s: float = ROUTER_TOOL_TIMEOUT_S
    ) -> str:
        """Have the router run a tool."""
        return await self.reporter.tool(name, arguments, deadline_s=deadline_s)


def offer_for(brief: job.Brief) -> Offer:
    """Say which tools *brief* allows: none on campaign calls, and none of the router's without it.

    The problems are for the log and the record.
    """
    if any(found.layout == CAMPAIGN_LAYOUT for found in brief.found):
        return NO_TOOLS
    offered = offer(brief.options, direction=brief.direction)
    if brief.call is not None and brief.call.report is not None:
        return offered
    withdrawn = [name for name in offered.built_in if name in RUN_BY_ROUTER]
    withdrawn += [tool.name for tool in offered.http]
    kept = tuple(name for name in offered.built_in if name not in RUN_BY_ROUTER)
    if brief.options.tools is None:  # then it comes with outbound calls, whoever sent them
        withdrawn = [name for name in withdrawn if name != DO_NOT_CALL_TOOL]
    if not withdrawn:
        return Offer(kept, (), offered.problems)
    what = f"no router runs {', '.join(withdrawn)} on this call; left out"
    fix = "let persona-router dispatch the agent, with PUBLIC_URL set"
    return Offer(kept, (), (*offered.problems, Unmet("tools", what, fix)))


def tools_for(
    brief: job.Brief,
    reporter: Reporter,
    line: Line,
    *,
    facts: Facts,
    other_side: str | None = None,
    now: Callable[[], datetime] = local_time.now,
) -> list[llm.Tool | llm.Toolset]:
    """Build the tools of one call, in the order of ``offer_for``."""
    desk = Desk(
        options=brief.options,
        reporter=reporter,
        line=line,
        facts=facts,
        other_side=other_side,
        now=now,
    )
    offered = offer_for(brief)
    return [
        *(BUILDERS[name](desk) for name in offered.built_in),
        *(_http_tool(desk, tool) for tool in offered.http),
    ]


# ---- facts ---------------------------------------------------------------------------------


def _share_information(desk: Desk) -> llm.Tool:
    async def share_information(
        information: str,
        category: Annotated[str, Field(json_schema_extra={"enum": [*desk.options.categories]})],
    ) -> str:
        """Write down something that the caller has just told you, so that it is not lost.

        Use it as soon as you learn a fact that a colleague would want to know after the call: a
        name, a number, an address, an amount, a date, what the caller wants, what was agreed. One
        fact at a time, in one full sentence. Do not read it back unless it has to be confirmed,
        and do not mention that you write it down.

        Args:
            information: the fact, in the caller's own terms; numbers and spellings in full
            category: what it is about
        """
        return await desk.use("share_information", keep(information, category))

    async def keep(information: str, category: str) -> str:
        new, words = write_down(desk.facts, information, category, desk.options.categories)
        if new is not None:
            told = Fact(
                id=uuid.uuid4().hex[:16], category=new.category, information=new.information
            )
            await desk.reporter.keep(told)
        return words

    return function_tool(share_information)


def _get_shared_information(desk: Desk) -> llm.Tool:
    async def get_shared_information(
        category: Annotated[
            str | None, Field(json_schema_extra={"enum": [*desk.options.categories, None]})
        ] = None,
        limit: int = 10,
    ) -> str:
        """Read what has been written down about this caller.

        Use it before you ask for something that the caller may have told already.

        Args:
            category: only facts about this; leave it out for all
            limit: how many at most, the newest first
        """
        return await desk.use("get_shared_information", recall(category, limit))

    async def recall(category: str | None, limit: int) -> str:
        lines = read_back(desk.facts, category, limit)
        if desk.options.remember:
            try:
                arguments = {"category": category, "limit": limit}
                earlier = await desk.ask_router("get_shared_information", arguments)
            except ToolUnavailable:
                lines.append("What was told in earlier calls cannot be read at the moment.")
            else:
                lines.extend(line for line in earlier.splitlines() if line not in lines)
        return "\n".join(lines) or NOTHING_YET

    return function_tool(get_shared_information)


# ---- the time ------------------------------------------------------------------------------


def _get_current_time(desk: Desk) -> llm.Tool:
    async def get_current_time() -> str:
        """Find out what day and time it is now, where the conversation takes place.

        Use it whenever an answer depends on the date or the hour; never guess them.
        """
        return await desk.use("get_current_time", tell())

    async def tell() -> str:
        return local_time.told(desk.now(), desk.options.timezone, desk.other_side)

    return function_tool(get_current_time)


# ---- the call itself -----------------------------------------------------------------------


def _end_call(desk: Desk) -> llm.Tool:
    async def end_call(context: RunContext[None], reason: str) -> str:
        """End the call. Goodbye is said for you, so do not say it yourself.

        Use it when the conversation is over: the caller says goodbye, everything is settled, the
        caller wants to hang up, or it is a wrong number. Never while a question is open.

        Args:
            reason: why the call ends, in a few words
        """
        return await desk.use("end_call", end(context, reason))

    async def end(context: RunContext[None], reason: str) -> str:
        await context.wait_for_playout()
        spoken = " ".join(
            item.text_content or ""
            for item in context.speech_handle.chat_items
            if isinstance(item, llm.ChatMessage) and item.role == "assistant"
        )
        await desk.line.hang_up("the agent ended the call", detail=reason, spoken=spoken)
        raise StopResponse

    return function_tool(end_call)


def _transfer_call(desk: Desk) -> llm.Tool:
    targets = {target.name.casefold(): target for target in desk.options.transfer_targets}
    names = [target.name for target in desk.options.transfer_targets]

    async def transfer_call(
        context: RunContext[None],
        target: Annotated[str, Field(json_schema_extra={"enum": [*names]})],
    ) -> str:
        """Put the caller through to somebody else; your part of the call is over then.

        Use it only when the caller wants to speak to that person or place, or when you cannot
        help and the caller agrees. It is announced for you.

        Args:
            target: whom to put the caller through to
        """
        return await desk.use("transfer_call", transfer(context, target))

    async def transfer(context: RunContext[None], name: str) -> str:
        target = targets.get(name.strip().casefold())
        if target is None:
            raise ToolUnavailable(unknown_target(names))
        await context.wait_for_playout()
        await desk.line.transfer(target)
        raise StopResponse

    return function_tool(transfer_call)


# ---- what the router runs ------------------------------------------------------------------


def _do_not_call(desk: Desk) -> llm.Tool:
    async def do_not_call(reason: str = "") -> str:
        """Take the other side's number off the list of people who are called.

        Use it at once when somebody says that they do not want to be called again, in whatever
        words. Do not argue, and do not ask why.

        Args:
            reason: what they said, if anything
        """
        return await desk.use("do_not_call", desk.ask_router("do_not_call", {"reason": reason}))

    return function_tool(do_not_call)


def _check_calendar(desk: Desk) -> llm.Tool:
    async def check_calendar(
        context: RunContext[None], day: str, part_of_day: str | None = None
    ) -> str:
        """Find free appointments on one day.

        Use it before you offer any appointment; never make up a free time. Find out with
        get_current_time what day it is when the caller says "tomorrow" or "on Friday".

        Args:
            day: the day, as YYYY-MM-DD
            part_of_day: morning, afternoon or evening; leave it out for the whole day
        """
        arguments = {"day": day, "part_of_day": part_of_day}
        return await desk.use("check_calendar", _with_calendar(desk, context, arguments))

    return function_tool(check_calendar)


def _book_appointment(desk: Desk) -> llm.Tool:
    async def book_appointment(
        context: RunContext[None],
        start: str,
        name: str,
        email: str | None = None,
        notes: str = "",
    ) -> str:
        """Book an appointment that check_calendar has shown as free.

        Say the day and the time back to the caller and get a yes before you use it.

        Args:
            start: the beginning exactly as check_calendar gave it
            name: the caller's name
            email: the caller's e-mail address, if the caller gave one
            notes: what the appointment is about, in one sentence
        """
        arguments = {"start": start, "name": name, "email": email, "notes": notes}
        return await desk.use("book_appointment", _with_calendar(desk, context, arguments))

    return function_tool(book_appointment)


async def _with_calendar(desk: Desk, context: RunContext[None], arguments: dict[str, Any]) -> str:
    """Ask the calendar; when it is away, its tools are taken from the model for this call."""
    try:
        return await desk.ask_router(context.function_call.name, arguments)
    except ToolUnavailable:
        agent = context.session.current_agent
        await agent.update_tools([tool for tool in agent.tools if tool.id not in CALENDAR_TOOLS])
        log.warning("calendar.withdrawn")
        raise ToolUnavailable(CALENDAR_AWAY) from None


def _http_tool(desk: Desk, tool: HttpTool) -> llm.Tool:
    async def run(raw_arguments: dict[str, object]) -> str:
        deadline_s = tool.deadline_s + ROUTER_MARGIN_S
        return await desk.use(tool.name, desk.ask_router(tool.name, raw_arguments, deadline_s))

    schema = {
        "name": tool.name,
        "description": tool.description,
        "parameters": {"type": "object", "properties": {}, **tool.parameters},
    }
    return function_tool(run, raw_schema=schema)


BUILDERS: Final[Mapping[str, Callable[[Desk], llm.Tool]]] = {
    "share_information": _share_information,
    "get_shared_information": _get_shared_information,
    "get_current_time": _get_current_time,
    "end_call": _end_call,
    "transfer_call": _transfer_call,
    "check_calendar": _check_calendar,
    "book_appointment": _book_appointment,
    "do_not_call": _do_not_call,
}
