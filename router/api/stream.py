"""`GET /events`: what happens, as it happens, as server-sent events; one stream for all topics.

Each event has an id; whoever sends it back as `Last-Event-ID`, as browsers do by themselves, goes
on after it. When that is too long ago the stream begins with `reset`: read anew what you show.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.access import permit
from router.api.endpoints import Ask, Endpoint
from router.api.feed import Feed, Told, event
from router.errors import AccessRefused, RequestRefused, StoreUnavailable
from router.principals import Needs
from router.records.outbox import TOPICS, Position

BEAT_S: Final = 10.0  # a stream is silent no longer
SEND_S: Final = 10.0  # how long a reader may take no more
ALLOWED_EVERY_S: Final = 5.0  # whoever is signed out is cut within that
RETRY_MS: Final = 1_000
#: Topics that are not for every role.
NEEDS: Final[dict[str, Needs]] = {"deliveries": "operator"}


class Which(BaseModel):
    """What a stream tells."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    topics: Annotated[
        str,
        Field(max_length=100, description=f"with commas between: {', '.join(TOPICS)}; empty: all"),
    ] = ""
    call_id: Annotated[str | None, Field(max_length=40, description="of this call alone")] = None
    after: Annotated[
        str | None, Field(max_length=40, description="an event's id; Last-Event-ID wins")
    ] = None
    follow: Annotated[
        bool, Field(description="false: end when everything up to now has been told")
    ] = True

    @field_validator("topics")
    @classmethod
    def _known(cls, value: str) -> str:
        unknown = set(filter(None, value.split(","))) - set(TOPICS)
        if unknown:
            raise ValueError(f"topics are {', '.join(TOPICS)}")
        return value


class Connection(Protocol):
    """The line to one reader, where the server gives it away."""

    ending: asyncio.Event  # set when the server is about to stop

    def abort(self) -> None:
        """Cut it, whatever is still to be sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which notices a stream tells."""

    tenant: str
    topics: frozenset[str]
    call_id: str | None

    def of(self, batch: Sequence[Told]) -> bytes:
        """Return those of *batch* that are wanted, as they are sent."""
        return b"".join(
            one.wire
            for one in batch
            if one.topic in self.topics
            and one.tenant == self.tenant
            and (self.call_id is None or one.call_id == self.call_id)
        )


async def events(ask: Ask) -> Response:
    """Tell what happens."""
    asked: Which = ask.query
    feed: Feed = ask.request.state.feed
    topics = frozenset(filter(None, asked.topics.split(",")))
    for topic in topics:
        permit(ask.principal, NEEDS.get(topic, "viewer"))
    if not topics:
        topics = frozenset(one for one in TOPICS if _may(ask, one))
    if feed.full:
        fix = "close a few of the pages that are open"
        raise RequestRefused("too_many_streams", status=503, fix=fix)
    text = ask.request.headers.get("last-event-id") or asked.after
    after = None if text is None else Position.read(text)
    if text is not None and after is None:
        fix = "send the id of an event, or none"
        raise RequestRefused("bad_event_id", status=422, fix=fix)
    head = await feed.outbox.head()
    lost = after is not None and not await feed.outbox.has_all_after(after)
    return EventStream(
        feed,
        Wanted(tenant=ask.tenant, topics=topics, call_id=asked.call_id),
        after=head if after is None or lost else after,
        lost=lost,
        until=None if asked.follow else head,
        allowed=lambda: _still_allowed(ask, topics),
        connection=getattr(ask.request.state, "connection", None),
    )


EVENTS: Final = Endpoint(
    method="GET",
    path="/events",
    handler=events,
    needs="viewer",
    summary="What happens, as it happens: server-sent events",
    query=Which,
    streams=True,
)


def _may(ask: Ask, topic: str) -> bool:
    return ask.principal is not None and ask.principal.may(NEEDS.get(topic, "viewer"))


async def _still_allowed(ask: Ask, topics: frozenset[str]) -> bool:
    request = ask.request
    peer = request.client.host if request.client else ""
    try:
        principal = await ask.services.access.who(request.headers, peer)
        for needs in {NEEDS.get(topic, "viewer") for topic in topics}:
            permit(principal, needs)
    except AccessRefused:
        return False
    except StoreUnavailable:  # not known: nobody is signed out by a database that is away
        return True
    return principal is not None and principal.tenant == ask.tenant


class EventStream(Response):
    """One stream. *until*: end there; *allowed* is asked again and again."""

    def __init__(
        self,
        feed: Feed,
        wanted: Wanted,
        *,
        after: Position,
        lost: bool,
        until: Position | None,
        allowed: Callable[[], Awaitable[bool]],
        connection: Connection | None,
        beat_s: float = BEAT_S,
        send_s: float = SEND_S,
        allowed_every_s: float = ALLOWED_EVERY_S,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers(
            {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
        )
        del self.headers["content-length"]
        self._feed = feed
        self._wanted = wanted
        self._after = after
        self._lost = lost
        self._until = until
        self._allowed = allowed
        self._connection = connection
        self._beat_s = beat_s
        self._send_s = send_s
        self._allowed_every_s = allowed_every_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the reader is gone, slow or signed out, or the server stops."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            endings = [self._feed.ending.wait(), self._refused(), _gone(receive)]
            if self._connection is not None:
                endings.append(self._connection.ending.wait())
            tasks: list[asyncio.Task[Any]] = [
                asyncio.create_task(one) for one in (self._tell(send), *endings)
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            if self._was_too_slow(tasks[0]):
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send) -> None:
        opening = f"retry: {RETRY_MS}\n\n".encode()
        if self._lost:
            opening += event(self._after, "reset", b"{}")
        await self._sent(send, opening)
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                await self._sent(send, piece)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        at = self._after
        if self._until is not None and at >= self._until:
            return
        async with aclosing(self._feed.follow(at, beat_s=self._beat_s)) as batches:
            async for batch in batches:
                if batch:
                    at = batch[-1].position
                # An id without an event: the reader goes on from here, whatever it asked for.
                yield self._wanted.of(batch) or f": beat\nid: {at}\n\n".encode()
                if self._until is not None and at >= self._until:
                    return

    async def _sent(self, send: Send, piece: bytes) -> None:
        async with asyncio.timeout(self._send_s):
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _refused(self) -> None:
        """Return when its reader may not read any more."""
        while await self._allowed():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(self._allowed_every_s)

    def _was_too_slow(self, telling: "asyncio.Task[None]") -> bool:
        """Cut a reader that takes nothing; it comes back and goes on where it was."""
        error = None if telling.cancelled() else telling.exception()
        if isinstance(error, TimeoutError):
            if self._connection is not None:
                self._connection.abort()
            return True
        if error is not None and not isinstance(error, StoreUnavailable):
            raise error
        return False


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
