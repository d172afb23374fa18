"""Requests to forget personas: who may send one, and what it says.

Nobody proves yet who they are. So a purge is taken only where nobody but this machine's users can
reach the router, and not from a browser or a proxy, which would lend others its place on it.
"""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from personas.phone import PhoneNumber, parse
from router.errors import PurgeRefused

MAX_BODY_BYTES = 4096
PASSED_ON = ("origin", "forwarded", "x-forwarded-for", "via")


def check_allowed(headers: Mapping[str, str], *, host: str, dev: bool) -> None:
    """Raise PurgeRefused unless a router on *host* may serve a request with these *headers*."""
    if dev:
        return
    if not is_loopback(host):
        raise PurgeRefused(
            "purge_not_allowed",
            status=403,
            title="Forbidden",
            fix="let the router listen on 127.0.0.1 (HOST), or set REDIS_URL and use "
            "`persona-router personas purge` on a machine that reaches it",
        )
    if any(name in headers for name in PASSED_ON):
        raise PurgeRefused(
            "purge_passed_on",
            status=403,
            title="Forbidden",
            fix="send it to the router itself, as `persona-router personas purge` does, not "
            "through a proxy or from a browser",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on *host*."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Purge:
    """What is to be forgotten."""

    number: PhoneNumber | None  # None: all
    live: bool = False  # calls that go on are to speak as the new persona


async def read_purge(request: Request, region: str | None) -> Purge:
    """Read which number is to be forgotten, and whether calls that go on are to hear of it.

    Raises:
        PurgeRefused: it is neither, or the number cannot be read.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _bad("too_large", "a number takes no such room", status=413)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _bad("not_json", "send Content-Type: application/json", status=415)
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        wanted = None
    live = wanted.pop("live", False) if isinstance(wanted, dict) else False
    if wanted == {"all": True} and isinstance(live, bool):
        return Purge(None, live)
    if not isinstance(wanted, dict) or set(wanted) != {"number"} or not isinstance(live, bool):
        raise _bad("bad_purge", 'send {"number": "+13125550100"} or {"all": true}')
    number = parse(str(wanted["number"]), region)
    if number is None:
        raise _bad("number_unknown", "send the number as E.164, or set DEFAULT_REGION")
    return Purge(number, live)


def _bad(reason: str, fix: str, status: int = 400) -> PurgeRefused:
    titles = {400: "Bad Request", 413: "Content Too Large", 415: "Unsupported Media Type"}
    return PurgeRefused(reason, status=status, title=titles[status], fix=fix)
