"""Does everything that a call needs work? Each check says what is wrong and how to mend it."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from personas.found import Found
from personas.lookup import PersonaLookup
from personas.phone import read_dialed
from router import findings
from router.dispatch import LiveKit
from router.errors import DispatchError, LiveKitUnavailable
from router.findings import Check, Refusals, Rules, Sought, Trunks
from router.lastresort.desk import available
from router.routing import KIND_AGENT, NumberingPlan
from router.settings import RouterSettings

TIMEOUT_S = 5.0
MAX_SKEW_S = 30.0  # half of the leeway that webhooks are verified with
WORKER_WAIT_S = 8.0
NAMELESS_WAIT_S = 6.0
POLL_S = 0.1
POLLS = 20  # of a room before another one is tried
MAX_SOUGHT = 200  # numbers that are looked up
SOUGHT_AT_ONCE = 4
NO_SUCH_NUMBER = frozenset({"not_found", "absent"})
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here


@dataclass(frozen=True, kw_only=True, slots=True)
class Doctor:
    """Checks what calls need. *refusals* tells of a running router's deliveries."""

    settings: RouterSettings
    livekit: LiveKit
    personas: PersonaLookup
    plan: NumberingPlan
    refusals: Callable[[], Awaitable[Refusals | None]]
    clock: Callable[[], float] = time.time  # Unix seconds
    max_skew_s: float = MAX_SKEW_S
    worker_wait_s: float = WORKER_WAIT_S
    nameless_wait_s: float = NAMELESS_WAIT_S

    async def examine(self) -> list[Check]:
        """Run every check, those in test rooms too; none of them raises."""
        settled = Check("settings", "ok", "all settings can be used")
        reached, *standing = await self.look()
        in_rooms = await self._in_rooms() if reached.level == "ok" else []
        return [settled, reached, *standing, *in_rooms]

    async def look(self) -> list[Check]:
        """Run the checks that change nothing; none of them raises."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            reached = await self._livekit()
            rest = [self._persona_api(http), self._webhook_keys(), self._last_resort()]
            if reached.level == "ok":
                rest += [self._clock(http), self._configuration()]
            found = await asyncio.gather(*rest)
        return [reached, *(check for group in found for check in group)]

    # ---- what changes nothing ----

    async def _livekit(self) -> Check:
        try:
            await self.livekit.ping()
        except LiveKitUnavailable as exc:
            if exc.reason in {"unauthenticated", "permission_denied"}:
                fix = "set LIVEKIT_API_KEY and LIVEKIT_API_SECRET to a pair of its configuration"
                return Check("livekit", "error", "LiveKit refused our key", fix)
            said = f"LiveKit was not reached ({exc.reason})"
            return Check("livekit", "error", said, "start it, or correct LIVEKIT_URL")
        return Check("livekit", "ok", "reached, and it takes our key")

    async def _clock(self, http: httpx.AsyncClient) -> list[Check]:
        try:  # ws → http, wss → https
            answer = await http.get(re.sub(r"^ws", "http", self.settings.livekit_url))
            theirs = parsedate_to_datetime(answer.headers["date"])
        except (httpx.HTTPError, KeyError, ValueError):
            said = "LiveKit's clock could not be read"
            return [Check("clock", "warning", said, "compare by hand")]
        skew_s = (datetime.now(UTC) - theirs).total_seconds()
        if abs(skew_s) > self.max_skew_s:
            said = f"our clock is {skew_s:+.0f} s off LiveKit's; from 60 s on, webhooks are refused"
            return [Check("clock", "error", said, "set both by NTP")]
        return [Check("clock", "ok", "our clock and LiveKit's agree")]

    async def _persona_api(self, http: httpx.AsyncClient) -> list[Check]:
        base, name = self.settings.api_base(), "persona api"
        if base is None:
            return [Check(name, "ok", "switched off: personas come from files")]
        token = self.settings.persona_api_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = await http.get(f"{base}/0", headers=headers)  # no number: a 404 is an answer
        except httpx.HTTPError as exc:
            said = f"it was not reached ({type(exc).__name__})"
            fix = "correct PERSONA_API_BASE; until then files and the house persona answer"
            return [Check(name, "error", said, fix)]
        if answer.status_code in {401, 403}:
            return [Check(name, "error", "it refused our token", "set PERSONA_API_TOKEN")]
        if answer.is_server_error:
            return [Check(name, "error", f"it answers {answer.status_code}", "look at its own log")]
        if answer.is_redirect:
            said = "it redirects, and redirects are not followed"
            fix = "set PERSONA_API_BASE to where it redirects to"
            return [Check(name, "error", said, fix)]
        return [Check(name, "ok", "it answers")]

    async def _webhook_keys(self) -> list[Check]:
        return findings.webhook_keys(await self.refusals(), self.clock())

    async def _last_resort(self) -> list[Check]:
        settings = self.settings
        return findings.last_resort(
            places=settings.last_resort_calls, extra=available(), number=settings.fallback_number
        )

    async def _configuration(self) -> list[Check]:
        try:
            rules: Rules = await self.livekit.dispatch_rules()
            trunks: Trunks = await self.livekit.inbound_trunks()
        except LiveKitUnavailable as exc:
            said = f"rules and trunks could not be listed ({exc.reason})"
            fix = "LiveKit needs Redis and its SIP gateway to take calls"
            return [Check("dispatch rules", "warning", said, fix)]
        files = await asyncio.to_thread(_names_in, self.settings.persona_dir)
        return [
            *findings.rules(rules),
            *findings.number_rules(rules, trunks, self.plan),
            *findings.trunk_numbers(trunks, self.plan),
            *findings.trunk_owners(trunks, self.plan),
            *findings.persona_files(files, trunks, self.plan),
            *findings.orphans(await self._seek(trunks)),
        ]

    async def _seek(self, trunks: Trunks) -> Sought:
        """Look up who would answer the numbers of *trunks*, as the live path does."""
        numbers = list(
            dict.fromkeys(
                number
                for trunk in trunks
                for number in findings.numbers_of(trunk, self.plan).values()
            )
        )[:MAX_SOUGHT]
        orphans: list[str] = []
        asked = untold = 0
        for batch in (
            numbers[at : at + SOUGHT_AT_ONCE] for at in range(0, len(numbers), SOUGHT_AT_ONCE)
        ):
            if untold >= SOUGHT_AT_ONCE:  # the API is away: its own check says so
                break
            found = await asyncio.gather(
                *(self.personas.find(read_dialed(number.e164)) for number in batch)
            )
            asked += len(batch)
            houses = [(n, one) for n, one in zip(batch, found, strict=True) if _by_house(one)]
            none = [number.e164 for number, one in houses if self._says_no(one)]
            orphans += none
            untold += len(houses) - len(none)
        return Sought(orphans, asked, untold)

    def _says_no(self, found: Found) -> bool:
        return self.settings.api_base() is None or any(
            step.outcome in NO_SUCH_NUMBER for step in found.steps
        )

    # ---- in rooms of its own ----

    async def _in_rooms(self) -> list[Check]:
        try:
            nameless, answered = await asyncio.gather(
                self._agent_comes(self.livekit.open, self.nameless_wait_s),
                self._agent_comes(self._dispatch, self.worker_wait_s),
            )
        except (DispatchError, LiveKitUnavailable) as exc:
            said = f"an agent could not be tried in a test room ({exc.reason})"
            return [Check("worker", "error", said, "see livekit")]
        return [_nameless(joined=nameless), self._worker(answered=answered, nameless=nameless)]

    def _worker(self, *, answered: bool, nameless: bool) -> Check:
        name = self.settings.agent_to_dispatch
        if not answered:
            said = f"no agent {name!r} joined a test room within {self.worker_wait_s:.0f} s"
            fix = "start `persona-router agent`, with the same LIVEKIT_URL and AGENT_TO_DISPATCH"
            return Check("worker", "error", said, fix)
        if nameless:
            said = f"an agent joined, but it may be the nameless one instead of {name!r}"
            return Check("worker", "warning", said, "see nameless worker, then ask again")
        return Check("worker", "ok", f"an agent {name!r} joined a test room")

    async def _dispatch(self, room: str) -> None:
        await self.livekit.dispatch(room, "{}", {})

    async def _agent_comes(self, begin: Callable[[str], Awaitable[None]], wait_s: float) -> bool:
        """Tell whether an agent joins one of a few rooms.

        One is not enough: LiveKit drops a job, and never offers it again, while the worker reports
        a load over its limit, and starting this program can be such a load.
        """
        rooms: list[str] = []
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    rooms.append(f"persona-router-doctor-{secrets.token_hex(4)}")
                    await begin(rooms[-1])
                    if await self._joined(rooms):
                        return True
        except TimeoutError:
            return False
        finally:
            for room in rooms:
                with suppress(LiveKitUnavailable):  # it is empty, and LiveKit ends it in time
                    await self.livekit.end(room)

    async def _joined(self, rooms: Sequence[str]) -> bool:
        for _ in range(POLLS):
            for room in rooms:
                if await self._has_agent(room):
                    return True
            await asyncio.sleep(POLL_S)
        return False

    async def _has_agent(self, room: str) -> bool:
        return any(one.kind == KIND_AGENT for one in await self.livekit.participants(room))


def _nameless(*, joined: bool) -> Check:
    if joined:
        said = "a worker without an agent name joins every room: each call gets it as well as ours"
        fix = "give it an agent_name, or stop it"
        return Check("nameless worker", "error", said, fix)
    return Check("nameless worker", "ok", "none joined a room to which none was sent")


def _by_house(found: Found) -> bool:
    return found.origin.source == "house"


def _names_in(folder: Path | None) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()] if folder else []
    except OSError:
        return []


# ---- what a running router says of its deliveries ----


async def refusals_at(host: str, port: int) -> Refusals | None:
    """Read the metrics of the router at *host* and *port*; None when it does not answer."""
    address = ANY_ADDRESS.get(host, host)
    url = (
        f"http://[{address}]:{port}/metrics"
        if ":" in address
        else f"http://{address}:{port}/metrics"
    )
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            answer = await http.get(url)
            answer.raise_for_status()
        return refusals_of(text_string_to_metric_families(answer.text))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None


def refusals_of(families: Iterable[Metric]) -> Refusals:
    """Read *families* of metrics, as a page or a registry gives them."""
    accepted, last_at = 0.0, {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == "persona_router_deliveries_total":
            accepted += sample.value if sample.labels["verdict"] != "refused" else 0
        elif sample.name == "persona_router_refused_timestamp_seconds":
            last_at[sample.labels["reason"]] = sample.value
    return Refusals(int(accepted), last_at)
