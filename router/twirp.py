"""LiveKit's API as it is on the wire: one POST of a protobuf message, over connections kept open.

For the questions that are asked all the time and the one that a ringing caller waits for. A general
HTTP client takes ten times as long to write such a request, most of it for what is never different
here. httptools reads the answers, as it does uvicorn's requests. Nothing is ever sent twice.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from personas.tokens import sign
from router.errors import TwirpFailed, TwirpLost, TwirpUnreached

TOKEN_S = 60
TOKEN_LEEWAY_S = 60  # for a LiveKit whose clock is behind
IDLE_S = 20.0  # an idle connection is closed here before a proxy closes it under a request
MAX_ANSWER_BYTES = 32 * 1024 * 1024
_FIRST_FINAL = 200
_OK = 200


class Twirp:
    """The API at *url* (``http…`` or ``ws…``), asked with tokens of *key*.

    Each request has to be answered within *timeout_s*, connecting included.
    """

    def __init__(self, url: str, *, key: str, secret: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._key = key
        self._secret = secret.encode()
        self._timeout_s = timeout_s
        self._tls = parts.scheme in {"https", "wss"}
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = f"{parts.path.rstrip('/')}/twirp/livekit."
        self._authority = parts.netloc.rpartition("@")[2]
        self._heads: dict[str, bytes] = {}
        self._context: ssl.SSLContext | None = None
        self._idle: list[_Line] = []  # the one that was used last is used first
        self._lines: set[_Line] = set()
        self._reaping: asyncio.TimerHandle | None = None
        self._closed = False

    async def call(self, method: str, message: bytes, grants: Mapping[str, Any]) -> bytes:
        """Return the answer to *message*; *method* is ``Service/Method``.

        *grants* are what the token allows.

        Raises:
            TwirpUnreached: nothing was sent.
            TwirpFailed: LiveKit answered with another status than 200.
            TwirpLost: no answer came in time, or none that can be read: it may have been done.
        """
        request = self._head(method) % (self._token(grants), len(message)) + message
        line, left_s = self._idle_line(), self._timeout_s
        if line is None:
            line, left_s = await self._connected()
        status, body = await line.ask(request, left_s)
        if status != _OK:
            raise TwirpFailed(_code(body) or f"status_{status}", status=status)
        return body

    async def aclose(self) -> None:
        """Close the connections; who still waits for an answer has lost it."""
        self._closed = True
        if self._reaping is not None:
            self._reaping.cancel()
        closing = [line.closed for line in self._lines]
        for line in list(self._lines):
            line.close()
        if closing:
            await asyncio.wait(closing, timeout=1.0)

    def _head(self, method: str) -> bytes:
        head = self._heads.get(method)
        if head is None:
            lines = (
                f"POST {self._path}{method} HTTP/1.1",
                f"Host: {self._authority}",
                "User-Agent: persona-router",
                "Content-Type: application/protobuf",
            )
            text = "\r\n".join(lines).replace("%", "%%")
            head = text.encode() + b"\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
            self._heads[method] = head
        return head

    def _token(self, grants: Mapping[str, Any]) -> bytes:
        # The library's own token takes as long to make as the whole request to send.
        now = int(time.time())
        times = {"iss": self._key, "nbf": now - TOKEN_LEEWAY_S, "exp": now + TOKEN_S}
        return sign({**times, "video": grants}, self._secret).encode()

    # ---- connections ----

    def _idle_line(self) -> "_Line | None":
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
        return None

    async def _connected(self) -> tuple["_Line", float]:
        """Return a new connection, and what is left of the time."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._timeout_s
        if self._tls and self._context is None:
            self._context = await loop.run_in_executor(None, ssl.create_default_context)
        try:
            async with asyncio.timeout_at(ends_at):
                _, line = await loop.create_connection(
                    lambda: _Line(self), self._host, self._port, ssl=self._context
                )
        except OSError as exc:  # and TimeoutError, which is one
            raise TwirpUnreached("not_reached") from exc
        return line, ends_at - loop.time()

    def opened(self, line: "_Line") -> None:
        """Count *line* in."""
        self._lines.add(line)

    def lost(self, line: "_Line") -> None:
        """Count *line* out."""
        self._lines.discard(line)

    def give_back(self, line: "_Line") -> None:
        """Take *line* for the next request."""
        if self._closed:
            line.close()
            return
        self._idle.append(line)
        if self._reaping is None:
            loop = asyncio.get_running_loop()
            self._reaping = loop.call_later(IDLE_S, self._reap)

    def _reap(self) -> None:
        """Close what was idle for long; the oldest come first."""
        self._reaping = None
        now = time.monotonic()
        while self._idle and (now - self._idle[0].idle_since >= IDLE_S or not self._idle[0].usable):
            self._idle.pop(0).close()
        if self._idle:
            loop = asyncio.get_running_loop()
            wait_s = self._idle[0].idle_since + IDLE_S - now
            self._reaping = loop.call_later(wait_s, self._reap)


class _Line(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self, pool: Twirp) -> None:
        self._pool = pool
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._size = 0
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.idle_since = 0.0
        self.usable = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send *request*; return the status and the body of the answer."""
        loop = asyncio.get_running_loop()
        self._transport.write(request)  # first of all: a caller is ringing
        answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._answer = answer
        timer = loop.call_later(timeout_s, self._give_up, "timeout")
        try:
            return await answer
        finally:
            timer.cancel()
            if self._answer is answer:  # whoever asked was cancelled
                self._answer = None
                self.close()

    def close(self) -> None:
        """End it at once."""
        self.usable = False
        self._transport.abort()

    def _give_up(self, reason: str) -> None:
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None and not answer.done():
            answer.set_exception(TwirpLost(reason))

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._give_up("unreadable_answer")

    def eof_received(self) -> None:
        self._give_up("connection_lost")

    def connection_lost(self, _exc: Exception | None) -> None:
        self._give_up("connection_lost")
        self._pool.lost(self)
        if not self.closed.done():
            self.closed.set_result(None)

    # ---- httptools' side ----

    def on_body(self, piece: bytes) -> None:
        if self._answer is None:
            self.close()
            return
        self._size += len(piece)
        self._body.append(piece)
        if self._size > MAX_ANSWER_BYTES:
            self._give_up("answer_too_large")

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        answer = self._answer
        if status < _FIRST_FINAL:  # a word on the way
            return
        if answer is None:  # a second answer behind the first
            self.close()
            return
        body, self._answer = b"".join(self._body), None
        self._body.clear()
        self._size = 0
        if not answer.done():
            answer.set_result((status, body))
        if self.usable and self._parser.should_keep_alive():
            self.idle_since = time.monotonic()
            self._pool.give_back(self)
        else:
            self.close()


def _code(body: bytes) -> str:
    try:
        error = json.loads(body)
    except ValueError:
        return ""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""
