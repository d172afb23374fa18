"""uvicorn's HTTP protocol with what it lacks: deadlines for a request, and a bound on connections.

A connection that says nothing, or says it a byte at a time, costs the others nothing: its request
has to be whole in time, and when there are too many, the one that was silent longest makes room.
What was just opened and sends its request at once is served. Connections are cut without an answer:
LiveKit repeats after that, and never after a 408.

A delivery that comes whole is answered without ASGI, which was half of its processor time, and a
fifth of a ring time of a millisecond. If it is plain it passes uvicorn's parser by too, and what
comes in pieces uvicorn serves itself.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from router import plain_request
from router.answers import Answer

#: Answers a POST, given the lifespan's state, the headers and the body: at once if it can.
#: Neither it nor what it returns raises.
Take: TypeAlias = Callable[
    [Mapping[str, Any], list[tuple[bytes, bytes]], bytes], Answer | Coroutine[Any, Any, Answer]
]
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


class _Nobody:
    """Stands where uvicorn wakes the reader of a body."""

    def set(self) -> None:
        """Wake nobody."""


class _Whole:
    """A request of one piece; it has of uvicorn's cycle what its protocol looks at."""

    message_event = _Nobody()

    def __init__(
        self,
        of: "GuardedProtocol",
        take: Take,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
        *,
        keep_alive: bool = True,
    ) -> None:
        self.of = of
        self.take = take
        self.before = of.cycle
        self.scope = of.scope
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = body
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self.answer: Answer | Coroutine[Any, Any, Answer]

    def begin(self) -> None:
        """Answer it, in a task of its own where that takes its time."""
        of = self.of
        self.answer = self.take(of.app_state, self.headers, self.body)
        if isinstance(self.answer, Answer) and not of.flow.write_paused:
            self._send(self.answer)
        else:
            of.start(self)

    async def run_asgi(self, _app: ASGI3Application) -> None:
        """Answer it as uvicorn has it done."""
        answer = self.answer if isinstance(self.answer, Answer) else await self.answer
        if self.of.flow.write_paused and not self.disconnected:
            await self.of.flow.drain()  # it does not read what it asks for
        if not self.disconnected:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        of = self.of
        content = [answer.head]
        for name, value in of.server_state.default_headers:
            content += (name, b": ", value, b"\r\n")
        if not self.keep_alive and not answer.closes:
            content.append(b"connection: close\r\n")
        content += (b"\r\n", answer.body)
        of.transport.write(b"".join(content))
        self.response_complete = True
        if answer.closes or not self.keep_alive:
            of.transport.close()
        of.on_response_complete()


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
        direct: Mapping[bytes, Take],
    ) -> None:
        # for answers that last: they end when the server stops, and can cut who does not read
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.ending = asyncio.Event()
        self._crowd = crowd
        self._direct = direct
        self._begun: _Whole | None = None  # the request that may yet turn out to come whole
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
        plain = plain_request.read(data, self._direct) if self._rests() else None
        if plain is not None:
            whole = _Whole(self, self._direct[plain.path], plain.headers, plain.body)
            whole.more_body = False
            self.cycle = cycle = cast("RequestResponseCycle", whole)
            whole.begin()
        else:
            HttpToolsProtocol.data_received(self, data)  # super() would take as long as the rest
            cycle = self.cycle
            if self._begun is not None:
                cycle = self._in_pieces(self._begun)
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

    def _rests(self) -> bool:
        """Whether nothing is under way, and the parser has seen nothing of a next request."""
        if not self._is_known:
            return self.scope is None
        cycle = self.cycle
        return cycle is self._whole and cycle.response_complete and cycle.scope is self.scope

    def on_response_complete(self) -> None:
        """Go on after an answer: with what waits, or with waiting for a next request.

        The timer for that runs on while requests come, or each would make one and stop another.
        """
        if self.pipeline or self.timeout_keep_alive_task is None or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing came for as long as it may stay open."""
        self.timeout_keep_alive_task = None
        if not self.idle:
            return  # the answer begins anew
        left_s = self.heard_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                left_s, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        take = self._direct.get(self.url)
        parser, before = self.parser, self.cycle
        if (
            take is None
            or parser.get_method() != b"POST"
            or parser.should_upgrade()
            or self.expect_100_continue
            or not getattr(before, "response_complete", True)  # there is none before the first
        ):
            HttpToolsProtocol.on_headers_complete(self)
        else:
            keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
            self._begun = _Whole(self, take, self.headers, keep_alive=keep_alive)
            self.cycle = cast("RequestResponseCycle", self._begun)

    def on_message_complete(self) -> None:
        """Answer it, if it is not being answered while it comes."""
        HttpToolsProtocol.on_message_complete(self)
        if self._begun is not None:
            whole, self._begun = self._begun, None
            whole.begin()

    def start(self, whole: _Whole) -> None:
        """Begin a task that uvicorn waits for when it ends."""
        self._start_asgi_task(cast("RequestResponseCycle", whole), self.app)

    def _in_pieces(self, begun: _Whole) -> RequestResponseCycle:
        """Leave a request to uvicorn, and what has come of its body."""
        self._begun = None
        self.cycle = begun.before
        HttpToolsProtocol.on_headers_complete(self)
        if begun.body:
            HttpToolsProtocol.on_body(self, begun.body)
        return self.cycle

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


def guarded(
    limits: Limits, count: Callable[[Reason], None], direct: Mapping[bytes, Take]
) -> type[GuardedProtocol]:
    """Return the protocol for one server, whose connections share *limits*.

    *direct* answers POST requests to these paths, if they come in one piece, without ASGI.
    """
    crowd = Crowd(limits, count)

    class Guarded(GuardedProtocol):
        """The connections of one server."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named, crowd=crowd, direct=direct)

    return Guarded
