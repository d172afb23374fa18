"""Does everything that a call needs work? Each check says what is wrong and how to mend it."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx
from livekit.protocol.sip import SIPDispatchRuleInfo

from router.dispatch import LiveKit
from router.errors import DispatchError, LiveKitUnavailable
from router.routing import KIND_AGENT
from router.settings import RouterSettings

Level = Literal["ok", "warning", "error"]

TIMEOUT_S = 5.0
MAX_SKEW_S = 30.0  # half of the leeway that webhooks are verified with
WORKER_WAIT_S = 8.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; *fix* says what to do unless the level is ok."""

    name: str
    level: Level
    said: str
    fix: str = ""


async def examine(
    settings: RouterSettings,
    *,
    worker_wait_s: float = WORKER_WAIT_S,
    max_skew_s: float = MAX_SKEW_S,
) -> list[Check]:
    """Run every check; none of them raises."""
    async with (
        LiveKit(
            url=settings.livekit_url,
            api_key=settings.livekit_api_key,
            api_secret=settings.livekit_api_secret.get_secret_value(),
            agent_name=settings.agent_to_dispatch,
            timeout_s=settings.dispatch_timeout_s,
        ) as livekit,
        httpx.AsyncClient(timeout=TIMEOUT_S) as http,
    ):
        reached = await _livekit(livekit)
        rest: list[Callable[[], Awaitable[list[Check]]]] = [lambda: _persona_api(settings, http)]
        if reached.level == "ok":
            rest += [
                lambda: _clock(settings, http, max_skew_s),
                lambda: _worker(settings, livekit, worker_wait_s),
                lambda: _rules(livekit),
            ]
        found = await asyncio.gather(*(check() for check in rest))
    settled = Check("settings", "ok", "all settings can be used")
    return [settled, reached, *(check for group in found for check in group)]


async def _livekit(livekit: LiveKit) -> Check:
    try:
        await livekit.ping()
    except LiveKitUnavailable as exc:
        if exc.reason in {"unauthenticated", "permission_denied"}:
            return Check(
                "livekit",
                "error",
                "LiveKit refused our key",
                "set LIVEKIT_API_KEY and LIVEKIT_API_SECRET to a pair of its configuration",
            )
        return Check(
            "livekit",
            "error",
            f"LiveKit was not reached ({exc.reason})",
            "start it, or correct LIVEKIT_URL",
        )
    return Check("livekit", "ok", "reached, and it takes our key")


async def _clock(
    settings: RouterSettings, http: httpx.AsyncClient, max_skew_s: float
) -> list[Check]:
    try:  # ws → http, wss → https
        answer = await http.get(re.sub(r"^ws", "http", settings.livekit_url))
        theirs = parsedate_to_datetime(answer.headers["date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return [Check("clock", "warning", "LiveKit's clock could not be read", "compare by hand")]
    skew_s = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew_s) > max_skew_s:
        return [
            Check(
                "clock",
                "error",
                f"our clock is {skew_s:+.0f} s off LiveKit's; from 60 s on, webhooks are refused",
                "set both by NTP",
            )
        ]
    return [Check("clock", "ok", "our clock and LiveKit's agree")]


async def _persona_api(settings: RouterSettings, http: httpx.AsyncClient) -> list[Check]:
    base = settings.api_base()
    if base is None:
        return [Check("persona api", "ok", "switched off: personas come from files")]
    token = settings.persona_api_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = await http.get(f"{base}/0", headers=headers)  # no number: a 404 is an answer
    except httpx.HTTPError as exc:
        return [
            Check(
                "persona api",
                "error",
                f"it was not reached ({type(exc).__name__})",
                "correct PERSONA_API_BASE; until then files and the house persona answer",
            )
        ]
    if answer.status_code in {401, 403}:
        return [Check("persona api", "error", "it refused our token", "set PERSONA_API_TOKEN")]
    if answer.is_server_error:
        return [
            Check("persona api", "error", f"it answers {answer.status_code}", "look at its own log")
        ]
    if answer.is_redirect:
        return [
            Check(
                "persona api",
                "error",
                "it redirects, and redirects are not followed",
                "set PERSONA_API_BASE to where it redirects to",
            )
        ]
    return [Check("persona api", "ok", "it answers")]


async def _worker(settings: RouterSettings, livekit: LiveKit, wait_s: float) -> list[Check]:
    name = settings.agent_to_dispatch
    room = f"persona-router-doctor-{secrets.token_hex(4)}"
    try:
        joined = await _agent_comes(livekit, room, wait_s)
    except (DispatchError, LiveKitUnavailable) as exc:
        return [Check("worker", "error", f"the test dispatch failed ({exc.reason})", "see livekit")]
    if joined:
        return [Check("worker", "ok", f"an agent {name!r} joined a test room")]
    return [
        Check(
            "worker",
            "error",
            f"no agent {name!r} joined a test room within {wait_s:.0f} s",
            "start `persona-router agent`, with the same LIVEKIT_URL and AGENT_TO_DISPATCH",
        )
    ]


async def _agent_comes(livekit: LiveKit, room: str, wait_s: float) -> bool:
    await livekit.dispatch(room, "{}", {})
    try:
        async with asyncio.timeout(wait_s):
            while not any(one.kind == KIND_AGENT for one in await livekit.participants(room)):  # noqa: ASYNC110  # LiveKit has no event
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return False
    else:
        return True
    finally:
        await livekit.end(room)


async def _rules(livekit: LiveKit) -> list[Check]:
    try:
        rules = await livekit.dispatch_rules()
    except LiveKitUnavailable as exc:
        return [
            Check(
                "dispatch rules",
                "warning",
                f"they could not be listed ({exc.reason})",
                "LiveKit needs Redis and its SIP gateway to take calls",
            )
        ]
    if not rules:
        return [
            Check(
                "dispatch rules",
                "warning",
                "there is none: LiveKit refuses every call",
                "create deploy/livekit/dispatch-rule.json",
            )
        ]
    found: list[Check] = []
    for rule in rules:
        name = rule.sip_dispatch_rule_id
        if rule.room_config.agents:
            found.append(
                Check(
                    "dispatch rules",
                    "error",
                    f"{name} dispatches agents by itself: a call gets two agents",
                    "remove roomConfig.agents from the rule",
                )
            )
        if shares_rooms(rule):
            found.append(
                Check(
                    "dispatch rules",
                    "error",
                    f"{name} puts two callers into one room",
                    "use dispatchRuleIndividual, as deploy/livekit/dispatch-rule.json does",
                )
            )
    return found or [Check("dispatch rules", "ok", f"{len(rules)}, none with agents of its own")]


def shares_rooms(rule: SIPDispatchRuleInfo) -> bool:
    """Tell whether two callers of *rule* can meet in one room."""
    kind = rule.rule.WhichOneof("rule")
    if kind == "dispatch_rule_callee":
        return not bool(rule.rule.dispatch_rule_callee.randomize)
    return bool(kind == "dispatch_rule_direct")
