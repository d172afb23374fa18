"""uvicorn's HTTP protocol with what it lacks: deadlines for a request, and a bound on connections.

A connection that says nothing, or says it a byte at a time, costs the others nothing: its request
has to be whole in time, and when there are too many, the one that was silent longest makes room.
What was just opened and sends its request at once is served. Connections are cut without an answer:
LiveKit repeats after that, and never after a 408.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

Reason = Literal[
    "head_slow", "head_large", "request_slow", "newcomers", "connections", "reader_slow"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What connections may take."""

    head_s: float = 5.0  # from connecting, or a request's first byte, to the end of its head
    request_s: float = 30.0  # from there to the end of its body
    head_bytes: int = 64 * 1024
    newcomers: int = 256  # connections that have not sent a whole request yet
    connections: int = 600  # in all; a process may open 1024 files as a rule


class Crowd:
    """The open connections of a process. *count* is told why one of them was cut."""

    def __init__(self, limits: Limits, count: Callable[[Reason], None]) -> None:
        self.limits = limits
        self._count = count
        self._newcomers: dict[GuardedProtocol, None] = {}  # the oldest first
        self._known: set[GuardedProtocol] = set()

    def admit(self, connection: "GuardedProtocol") -> None:
        """Take *connection* in; another may have to go for it."""
        self._newcomers[connection] = None
        if len(self._newcomers) > self.limits.newcomers:
            self.cut(next(iter(self._newcomers)), "newcomers")
        elif len(self._newcomers) + len(self._known) > self.limits.connections:
            idle = [one for one in self._known if one.idle]
            silent = min(idle, key=lambda one: one.heard_at, default=None)
            self.cut(silent or next(iter(self._newcomers)), "connections")

    def welcome(self, connection: "GuardedProtocol") -> None:
        """Note that *connection* has sent a whole request."""
        self._newcomers.pop(connection, None)
        self._known.add(connection)

    def forget(self, connection: "GuardedProtocol") -> None:
        """Let *connection* go."""
        self._newcomers.pop(connection, None)
        self._known.discard(connection)

    def cut(self, connection: "GuardedProtocol", reason: Reason) -> None:
        """End *connection* at once."""
        self.forget(connection)
        self._count(reason)
        connection.transport.abort()


class GuardedProtocol(HttpToolsProtocol):
    """One connection, watched over. A timer runs only while a request is not whole.

    So a request that comes in one piece, as deliveries do, costs no timer. uvicorn makes a new
    ``scope`` with the first byte of a request, and a new ``cycle`` for it at the end of its head.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        crowd: Crowd,
    ) -> None:
        # for answers that last: they end when the server stops, and can cut who does not read
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.ending = asyncio.Event()
        self._crowd = crowd
        self._whole = self.cycle  # of the request that came whole last
        self._is_known = False
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timed: tuple[Reason, int] | None = None  # for what, of which request
        self.heard_at = 0.0  # the loop's time

    @property
    def idle(self) -> bool:
        """Whether nothing is under way on it; ask only when it has sent a request."""
        cycle = self.cycle
        return cycle.response_complete and cycle.scope is self.scope and cycle is self._whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await("head_slow")
        self._crowd.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        self._crowd.forget(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Finish what is under way: the server is about to stop."""
        self.ending.set()
        super().shutdown()

    def abort(self) -> None:
        """End at once: what is to be sent is not taken."""
        self._crowd.cut(self, "reader_slow")

    def data_received(self, data: bytes) -> None:
        """Take in a piece."""
        HttpToolsProtocol.data_received(self, data)  # super() would take as long as the rest
        cycle = self.cycle
        if cycle is self._whole or cycle.more_body or cycle.scope is not self.scope:
            self._unfinished(len(data))
            return
        self._whole = cycle
        self.heard_at = self.loop.time()
        if self._timer is not None:
            self._stop_waiting()
        if not self._is_known:
            self._is_known = True
            self._crowd.welcome(self)

    def _unfinished(self, size: int) -> None:
        cycle = self.cycle
        if cycle is not self._whole and cycle.scope is self.scope:
            self._await("request_slow")
            return
        self._await("head_slow")  # for blank lines before a head too
        self._head_bytes += size
        if self._head_bytes > self._crowd.limits.head_bytes:
            self._crowd.cut(self, "head_large")

    def _await(self, else_: Reason) -> None:
        timed = else_, id(self.scope)
        if self._timed == timed:
            return
        self._stop_waiting()
        limits = self._crowd.limits
        limit_s = limits.head_s if else_ == "head_slow" else limits.request_s
        self._timed = timed
        self._timer = self.loop.call_later(limit_s, self._crowd.cut, self, else_)

    def _stop_waiting(self) -> None:
        self._timed = None
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def guarded(limits: Limits, count: Callable[[Reason], None]) -> type[GuardedProtocol]:
    """Return the protocol for one server, whose connections share *limits*."""
    crowd = Crowd(limits, count)

    class Guarded(GuardedProtocol):
        """The connections of one server."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named, crowd=crowd)

    return Guarded
