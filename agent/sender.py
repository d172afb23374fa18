"""Brings reports to the router, and has it run tools: one request each, with a deadline."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import aiohttp
import structlog
from pydantic import ValidationError

from agent.errors import ToolUnavailable
from agent.spool import Address
from personas.reports import MAX_EVENTS, MAX_REPORT_BYTES, Acknowledged, AnyCallEvent

log = structlog.get_logger(__name__)

#: taken: the router has them on disk. refused: it never will. later: it may.
Outcome: TypeAlias = Literal["taken", "refused", "later"]

SEND_S: Final = 5.0
REPORTS_PATH: Final = "/api/reports"
MAX_ANSWER_CHARS: Final = 20_000
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_NEVER: Final = frozenset({400, 413})
_REFUSED: Final = frozenset({404, 409, 422})  # of a tool: the router says why in words
_BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError, ValueError)

NO_ANSWER: Final = "That did not work: there was no answer. It cannot be done right now."
NOT_POSSIBLE: Final = "That cannot be done right now."


def pack(call_id: str, events: Sequence[AnyCallEvent], most: int = MAX_EVENTS) -> tuple[int, bytes]:
    """Put the first of *events* into a report's body; return how many, and the body."""
    head = f'{{"call_id":{json.dumps(call_id)},"events":['.encode()
    parts: list[bytes] = []
    size = len(head) + 2
    for event in events[: min(most, MAX_EVENTS)]:
        part = event.model_dump_json().encode()
        size += len(part) + 1
        if parts and size > MAX_REPORT_BYTES:
            break
        parts.append(part)
    return len(parts), head + b",".join(parts) + b"]}"


class Sender:
    """Speaks to the router; use it in one event loop, and close it.

    *token_of* makes a token of a call, for when the one that came with the job has expired.
    """

    def __init__(self, token_of: Callable[[str], str]) -> None:
        self._token_of = token_of
        self._session: aiohttp.ClientSession | None = None

    async def send(self, address: Address, body: bytes) -> Outcome:
        """Post one report. Never raises."""
        try:
            status, answer = await self._post(address.url, address.token, body, SEND_S)
            if status == _UNAUTHORIZED:
                token = self._token_of(address.call_id)
                status, answer = await self._post(address.url, token, body, SEND_S)
            if status in _NEVER:
                log.error("report.refused", call_id=address.call_id, status=status)
                return "refused"
            if status == _OK:
                Acknowledged.model_validate_json(answer)  # and not the page of some proxy
                return "taken"
        except _BROKEN as exc:
            log.debug("report.not_sent", call_id=address.call_id, error=_kind(exc))
            return "later"
        log.debug("report.not_sent", call_id=address.call_id, status=status)
        return "later"

    async def run_tool(
        self, address: Address, name: str, arguments: Mapping[str, Any], deadline_s: float
    ) -> str:
        """Have the router run a tool of this call; raises ToolUnavailable."""
        base = address.url.removesuffix(REPORTS_PATH)
        url = f"{base}/api/calls/{quote(address.call_id, safe='')}/tools/{quote(name, safe='')}"
        try:
            body = json.dumps({"arguments": dict(arguments)}).encode()
            status, answer = await self._post(url, address.token, body, deadline_s)
            if status == _UNAUTHORIZED:
                token = self._token_of(address.call_id)
                status, answer = await self._post(url, token, body, deadline_s)
            said = json.loads(answer)
            words = said.get("result" if status == _OK else "detail")
        except (*_BROKEN, TypeError, AttributeError, RecursionError) as exc:
            log.warning("tool.not_answered", call_id=address.call_id, tool=name, error=_kind(exc))
            raise ToolUnavailable(NO_ANSWER) from exc
        if status == _OK and isinstance(words, str):
            return words[:MAX_ANSWER_CHARS]
        log.warning("tool.failed", call_id=address.call_id, tool=name, status=status)
        if status in _REFUSED and isinstance(words, str) and words:
            raise ToolUnavailable(words[:MAX_ANSWER_CHARS])
        raise ToolUnavailable(NOT_POSSIBLE)

    async def _post(
        self, url: str, token: str, body: bytes, deadline_s: float
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with (
            asyncio.timeout(deadline_s),
            self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.content.read(MAX_REPORT_BYTES)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _kind(exc: BaseException) -> str:
    return "unreadable answer" if isinstance(exc, ValidationError) else type(exc).__name__
