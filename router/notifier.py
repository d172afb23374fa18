"""Sends notices to hooks: signed, one replica at a time for each, again and again for a day.

What a notice says is never read here, and neither it nor a URL is logged. A receiver has
``DEADLINE_S``, is not followed anywhere else, and its answer's body is not read.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
import structlog

from router.addresses import PORTS, Neighbours, Resolver, resolved
from router.errors import StoreUnavailable
from router.metrics import Metrics
from router.records.hooks import Due, Hooks, Recipient, Tried
from router.signatures import headers

log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
DEADLINE_S: Final = 15.0  # for one try
LEASE_S: Final = 60.0  # after which another replica sends what nobody has settled
AT_ONCE: Final = 4  # notices of one hook
REST_S: Final = 5.0  # for a hook that has just taken nothing
UNSIGNED_REST_S: Final = 60.0  # for one whose secret cannot be read: somebody has to do something
JITTER: Final = 0.1
#: After how long each try follows the one before: a day in all.
DELAYS_S: Final = (5, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 28_800)
MAX_DELAY_S: Final = 86_400.0
_OK: Final = range(200, 300)
_GONE: Final = 410


def next_delay_s(tries: int, spread: float, retry_after_s: float | None = None) -> float | None:
    """Return after how many seconds to try again; None: never. Pure.

    *tries* are those that were made; *spread* is from -1 to 1.
    """
    if tries > len(DELAYS_S):
        return None
    delay_s = DELAYS_S[tries - 1] * (1 + JITTER * spread)
    return min(max(delay_s, retry_after_s or 0.0), MAX_DELAY_S)


@dataclass(kw_only=True, slots=True)
class Notifier:
    """Sends what is due over *client*, which must not follow redirects nor read the environment."""

    hooks: Hooks
    client: httpx.AsyncClient
    neighbours: Neighbours
    metrics: Metrics
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    resolve: Resolver = resolved
    lease_s: float = LEASE_S
    deadline_s: float = DEADLINE_S
    _sending: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _rests_until: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Send until cancelled. What is then under way is sent again by somebody."""
        sealed = False
        try:
            while True:
                sealed = sealed or await self._sealed_anew()
                if sealed:
                    await self.turn()
                await asyncio.sleep(EVERY_S)
        finally:
            for task in self._sending.values():
                task.cancel()

    async def _sealed_anew(self) -> bool:
        try:
            await self.hooks.seal_anew()
        except StoreUnavailable as exc:
            log.warning("hooks.not_sealed", reason=exc.reason)
            return False
        return True

    async def turn(self) -> None:
        """Begin to send what is due. Never raises."""
        try:
            due = await self.hooks.recipients()
        except StoreUnavailable as exc:
            log.warning("notices.not_looked_for", reason=exc.reason)
            return
        except Exception:  # the next turn may do better
            log.exception("notices.crashed")
            return
        at = self.monotonic()
        for to in due:
            if to.hook_id in self._sending or self._rests_until.get(to.hook_id, at) > at:
                continue
            if not to.secrets:
                self._rests_until[to.hook_id] = at + UNSIGNED_REST_S
                self.metrics.notices["unsigned"].inc()
                log.error("hook.secret_unreadable", hook_id=to.hook_id)
            else:
                task = asyncio.create_task(self._send_all(to))
                self._sending[to.hook_id] = task
                task.add_done_callback(lambda _, hook_id=to.hook_id: self._sending.pop(hook_id))  # type: ignore[misc] # mypy cannot infer a lambda with a default

    async def settled(self) -> None:
        """Wait until what was begun is done."""
        while self._sending:
            await asyncio.wait(tuple(self._sending.values()))

    async def _send_all(self, to: Recipient) -> None:
        try:
            while claimed := await self.hooks.claim(to.hook_id, most=AT_ONCE, for_s=self.lease_s):
                tried = await asyncio.gather(*(self._send(to, due) for due in claimed))
                gone = any(one.status == _GONE for one in tried)
                if await self.hooks.settle(to, tried, gone=gone):
                    self.metrics.notices["hook_disabled"].inc()
                    log.error("alert.raised", action="hook_disabled", hook_id=to.hook_id)
                    return
                if not any(one.error is None for one in tried):
                    self._rests_until[to.hook_id] = self.monotonic() + REST_S
                    return
        except StoreUnavailable as exc:  # what was sent is sent again, under the same id
            log.warning("notices.not_settled", hook_id=to.hook_id, reason=exc.reason)
        except Exception:  # one hook's trouble is not the others'
            log.exception("notices.crashed", hook_id=to.hook_id)

    async def _send(self, to: Recipient, due: Due) -> Tried:
        status, error, retry_after_s = await self._post(to, due)
        spread = random.uniform(-1, 1)  # noqa: S311 - so that not all come at once
        delay_s = next_delay_s(due.tries, spread, retry_after_s)
        again_at = None if delay_s is None else self.clock() + delay_s
        if error is None:
            self.metrics.notices["delivered"].inc()
        else:
            self.metrics.notices["failed" if again_at is not None else "given_up"].inc()
            log.warning(
                "notice.not_delivered",
                hook_id=to.hook_id,
                event_id=due.event_id,
                error=error,
                tries=due.tries,
                again=again_at is not None,
            )
        return Tried(due=due, status=status, error=error, again_at=again_at)

    async def _post(self, to: Recipient, due: Due) -> tuple[int | None, str | None, float | None]:
        """Send one; return status, error (None: taken) and Retry-After in seconds."""
        body = due.body.encode()
        signed = headers(to.secrets, due.event_id, int(self.clock()), body)
        try:
            async with asyncio.timeout(self.deadline_s):
                url = httpx.URL(to.url)
                host, port = url.host.lower(), url.port or PORTS.get(url.scheme, 0)
                address = self._chosen(host, port, await self.resolve(host, port))
                if address is None:
                    return None, "address_refused", None
                request = self.client.build_request(
                    "POST",
                    url.copy_with(host=address),
                    content=body,
                    headers={
                        **signed,
                        "Host": url.netloc.decode("ascii"),
                        "Content-Type": "application/json",
                    },
                    extensions={"sni_hostname": host},
                )
                answer = await self.client.send(request, stream=True, follow_redirects=False)
                await answer.aclose()
        except TimeoutError:
            return None, "timeout", None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return None, "not_reached", None
        if answer.status_code in _OK:
            return answer.status_code, None, None
        return answer.status_code, f"status_{answer.status_code}", _retry_after_s(answer)

    def _chosen(self, host: str, port: int, addresses: Sequence[str]) -> str | None:
        """Return the address to connect to; None: one of them must not be."""
        may = addresses and all(self.neighbours.reach(host, port, one) for one in addresses)
        return addresses[0] if may else None


def _retry_after_s(answer: httpx.Response) -> float | None:
    with contextlib.suppress(ValueError):
        return float(int(answer.headers.get("retry-after", "")))
    return None
