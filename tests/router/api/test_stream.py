"""The stream of what happens: whole, in order, by role and tenant, for as long as one may read."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from personas.reports import Closed, Fact, Turn
from router.api.feed import BATCH, Feed, Told
from router.api.stream import EventStream, Wanted
from router.db import Store
from router.http_guard import Limits, guarded
from router.records.outbox import TOPICS, Notice, Outbox, Position, Read, note
from tests.router.api.rig import Rig, open_rig
from tests.router.api.test_calls import CALLER, told
from tests.router.dashboard.rig import rung
from tests.router.records.test_calls import FakeClock

NOW = "?follow=false&after=0-1"
WITHIN_S = 20.0


def read(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream's text: id, event and data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def kinds(text: str) -> list[str]:
    return [one["event"] for one in read(text)]


async def test_it_tells_a_call_with_every_number_masked(rig: Rig) -> None:
    said = Turn(by="caller", text=f"I am on {CALLER}.")
    await told(rig, "c1", said, Fact(id="f", category="x", information="y"))
    async with rig.client() as client:
        answer = await client.get("/events" + NOW, headers=await rig.token("viewer"))

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert kinds(answer.text) == ["call.began", "turn", "fact"]
    data = read(answer.text)[1]["data"]
    assert (data["call_id"], data["by"], data["text"]) == ("c1", "caller", "I am on […23].")


async def test_it_goes_on_after_the_last_event_that_was_read(rig: Rig) -> None:
    await told(rig, "c1", Turn(by="agent", text="1"), Turn(by="agent", text="2"))
    headers = await rig.token("viewer")
    async with rig.client() as client:
        whole = read((await client.get("/events" + NOW, headers=headers)).text)
        for place, one in enumerate(whole):
            again = {**headers, "Last-Event-ID": one["id"]}
            rest = (await client.get("/events" + NOW, headers=again)).text
            assert read(rest) == whole[place + 1 :]


async def test_topics_and_calls_are_chosen(rig: Rig) -> None:
    await told(rig, "c1", Turn(by="agent", text="1"))
    await told(rig, "c2", Turn(by="agent", text="2"))
    headers = await rig.token("viewer")
    async with rig.client() as client:
        turns = (await client.get(f"/events{NOW}&topics=turns", headers=headers)).text
        second = (await client.get(f"/events{NOW}&call_id=c2", headers=headers)).text
        wrong = await client.get(f"/events{NOW}&topics=turns,x", headers=headers)

    assert [one["data"]["text"] for one in read(turns)] == ["1", "2"]
    assert {one["data"]["call_id"] for one in read(second)} == {"c2"}
    assert wrong.status_code == 422


async def test_deliveries_are_for_operators(rig: Rig) -> None:
    await rung(rig, "c" * 32)
    async with rig.client() as client:
        viewer, operator = await rig.token("viewer"), await rig.token("operator")
        refused = await client.get(f"/events{NOW}&topics=deliveries", headers=viewer)
        nothing = await client.get("/events" + NOW, headers=viewer)
        shown = await client.get("/events" + NOW, headers=operator)

    assert refused.status_code == 403
    assert "deliveries" not in kinds(nothing.text)
    (one,) = [event for event in read(shown.text) if event["event"] == "deliveries"]
    assert [entry["verdict"] for entry in one["data"]["entries"]] == ["dispatched", "ignored"]
    assert CALLER[2:] not in shown.text


async def test_another_tenant_hears_nothing(rig: Rig) -> None:
    await told(rig, "c1", Turn(by="agent", text="1"))
    async with rig.client() as client:
        answer = await client.get("/events" + NOW, headers=await rig.token("admin", "north"))

    assert read(answer.text) == []


async def test_who_comes_back_too_late_or_from_elsewhere_is_told_to_read_anew(rig: Rig) -> None:
    await told(rig, "c1")
    headers = await rig.token("viewer")
    async with rig.client() as client:
        late = await client.get("/events?follow=false&after=0-0", headers=headers)
        elsewhere = await client.get("/events?follow=false&after=9-99999", headers=headers)
        bad = await client.get("/events?after=yesterday", headers=headers)

    assert kinds(late.text) == kinds(elsewhere.text) == ["reset"]
    assert bad.status_code == 422


# ---- one stream, taken by hand ----


async def until(holds: Callable[[], bool]) -> None:
    """Wait until *holds* says yes."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event to offer
            await asyncio.sleep(0.01)


class Reader:
    """Takes what a stream sends; *stuck*: nothing after the first piece."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.text = ""
        self.ended = False
        self.aborted = False
        self.ending = asyncio.Event()
        self._stuck = stuck

    def abort(self) -> None:
        self.aborted = True

    async def send(self, message: Any) -> None:
        self.text += message.get("body", b"").decode()
        self.ended = message.get("more_body") is False
        if self._stuck and message["type"] == "http.response.body":
            await asyncio.Event().wait()

    @staticmethod
    async def receive() -> Any:
        await asyncio.Event().wait()

    async def take(self, stream: EventStream) -> None:
        async with asyncio.timeout(WITHIN_S):
            await stream({"type": "http", "method": "GET"}, self.receive, self.send)


class CountedOutbox(Outbox):
    """Counts how often it is read."""

    reads = 0

    async def after(self, *arguments: Any) -> Any:
        type(self).reads += 1
        return await super().after(*arguments)


@asynccontextmanager
async def open_feed(store_url: str, **options: Any) -> AsyncIterator[Feed]:
    store = await Store(store_url).open()
    feed = Feed(CountedOutbox(store, clock=FakeClock()), poll_s=0.01, **options)
    running = asyncio.create_task(feed.run())
    yield feed
    running.cancel()
    await asyncio.wait({running})
    await store.aclose()


@pytest.fixture
async def feed(tmp_path: Path) -> AsyncIterator[Feed]:
    async with open_feed(f"sqlite:///{tmp_path / 'store.db'}") as feed:
        yield feed


def stream(feed: Feed, reader: Reader, **options: Any) -> EventStream:
    async def allowed() -> bool:
        return True

    values: dict[str, Any] = {
        "after": Position(0, 0),
        "lost": False,
        "until": None,
        "allowed": allowed,
        "connection": reader,
        "beat_s": 0.02,
    }
    wanted = Wanted(tenant="default", topics=frozenset(TOPICS), call_id=None)
    return EventStream(feed, wanted, **(values | options))


async def noted(feed: Feed, *calls: str) -> None:
    now = feed.outbox._clock()  # what is old may be removed before it is read
    made = [Notice.of("call.began", now, "default", call_id) for call_id in calls]
    await feed.outbox._store.write(lambda connection: note(connection, made))


async def test_a_reader_that_takes_nothing_is_cut(feed: Feed) -> None:
    reader = Reader(stuck=True)

    await reader.take(stream(feed, reader, send_s=0.05))

    assert reader.aborted
    assert not reader.ended
    assert feed.streams == 0


async def test_a_reader_who_may_not_read_any_more_is_cut(feed: Feed) -> None:
    reader, answers = Reader(), [True, True, False]

    async def allowed() -> bool:
        return answers.pop(0)

    await reader.take(stream(feed, reader, allowed=allowed, allowed_every_s=0.01))

    assert reader.ended
    assert not reader.aborted


@pytest.mark.parametrize("who", ["server", "feed"])
async def test_a_stream_ends_when_the_server_does(feed: Feed, who: str) -> None:
    reader = Reader()
    taking = asyncio.create_task(reader.take(stream(feed, reader)))
    await until(lambda: "beat" in reader.text)

    (reader if who == "server" else feed).ending.set()
    await taking

    assert reader.ended
    assert feed.streams == 0


async def test_a_silent_stream_beats_with_the_id_to_go_on_from(feed: Feed) -> None:
    reader = Reader()
    taking = asyncio.create_task(reader.take(stream(feed, reader)))
    await until(lambda: reader.text.count("beat") > 1)
    reader.ending.set()
    await taking

    assert f"\nid: {await feed.outbox.head()}\n" in reader.text


async def test_nobody_reads_while_nobody_listens(feed: Feed) -> None:
    reader = Reader()
    taking = asyncio.create_task(reader.take(stream(feed, reader)))
    await until(lambda: reader.text.count("beat") > 3)
    reader.ending.set()
    await taking
    await asyncio.sleep(0.05)  # a poll that was under way
    before = CountedOutbox.reads

    await asyncio.sleep(0.1)

    assert CountedOutbox.reads == before


async def test_readers_who_lag_behind_what_is_kept_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with open_feed(url, kept=5) as feed:
        sent = [f"c{number}" for number in range(BATCH * 2 + 50)]
        readers = [Reader() for _ in range(3)]
        taking = [asyncio.create_task(one.take(stream(feed, one))) for one in readers]
        for first in range(0, len(sent), 30):
            await noted(feed, *sent[first : first + 30])
        await until(lambda: all(sent[-1] in one.text for one in readers))
        for one in readers:
            one.ending.set()
        await asyncio.gather(*taking)

    for one in readers:
        assert [event["data"]["call_id"] for event in read(one.text)] == sent


async def test_there_are_only_so_many_streams(rig: Rig) -> None:
    feed: Feed = rig.state["feed"]
    async with AsyncExitStack() as stack:
        for _ in range(feed._max_streams):
            batches = feed.follow(Position(0, 0), beat_s=0.01)
            stack.push_async_callback(batches.aclose)
            await anext(batches)
        async with rig.client() as client:
            answer = await client.get("/events", headers=await rig.token("viewer"))

    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")


# ---- real servers ----


@asynccontextmanager
async def serving(rig: Rig) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    http = guarded(Limits(), lambda _reason: None, {})
    config = uvicorn.Config(rig.app, port=0, lifespan="off", log_config=None, http=http)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        async with asyncio.timeout(WITHIN_S):
            await running


class Listener:
    """Reads a stream, and goes on elsewhere where it left off when it is torn away."""

    def __init__(self, headers: dict[str, str], after: object = "0-1") -> None:
        self.seen: list[dict[str, Any]] = []
        self._headers = headers
        self._after = after

    async def listen(self, url: str, most: int = 10**6, last: str = "") -> None:
        """Read from *url* until it ends, *most* events were seen, or the *last* word."""
        headers = dict(self._headers)
        if self.seen:
            headers["Last-Event-ID"] = self.seen[-1]["id"]
        async with (
            asyncio.timeout(WITHIN_S),
            httpx.AsyncClient(timeout=WITHIN_S) as client,
            client.stream("GET", f"{url}/events?after={self._after}", headers=headers) as answer,
        ):
            text, before = "", len(self.seen)
            async for piece in answer.aiter_text():
                text += piece
                whole, _, text = text.rpartition("\n\n")
                for one in read(whole):
                    self.seen.append(one)
                    if len(self.seen) - before >= most or last in self.words[-1:]:
                        return

    @property
    def words(self) -> Sequence[str]:
        return [one["data"]["text"] for one in self.seen if one["event"] == "turn"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_whoever_goes_from_router_to_router_hears_everything_once(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    words = [f"word {number}" for number in range(60)]
    async with AsyncExitStack() as stack:
        rigs = [
            await stack.enter_async_context(open_rig(tmp_path / name, database_url=url))
            for name in ("a", "b")
        ]
        urls = [(await stack.enter_async_context(serving(one)))[0] for one in rigs]
        head = await rigs[0].services.outbox.head()
        listener = Listener(await rigs[0].token("viewer"), head)

        async def speak() -> None:
            for number, word in enumerate(words):
                await told(
                    rigs[number % 2], f"c{number}", Turn(by="agent", text=word), at=time.time()
                )
                await asyncio.sleep(0.005)

        speaking = asyncio.create_task(speak())
        turn = 0
        async with asyncio.timeout(WITHIN_S * 2):
            while len(listener.words) < len(words):
                await listener.listen(urls[turn % 2], most=7 + turn % 5, last=words[-1])
                turn += 1
        await speaking

    assert listener.words == words
    ids = [one["id"] for one in listener.seen]
    assert len(set(ids)) == len(ids)


async def test_a_server_that_stops_ends_its_streams_at_once(rig: Rig) -> None:
    listener = Listener(await rig.token("viewer"))
    async with serving(rig) as (url, server):
        listening = asyncio.create_task(listener.listen(url))
        await told(rig, "c1", Closed(reason="x", disposition="answered", duration_s=1.0, facts=0))
        await until(lambda: len(listener.seen) == 2)

        server.should_exit = True
        await listening  # the body's end came: httpx would raise otherwise


async def test_a_session_that_ends_is_cut(rig: Rig) -> None:
    accounts = rig.services.access.accounts
    made, shown = await accounts.add_token("test", "viewer", by="test")
    listener = Listener({"Authorization": f"Bearer {shown}"})
    async with serving(rig) as (url, _server):
        listening = asyncio.create_task(listener.listen(url))
        await told(rig, "c1")
        await until(lambda: bool(listener.seen))

        await accounts.revoke(made.id)
        await listening


def test_numbers_are_masked_in_a_thread_and_once() -> None:
    notice = Notice(at=0.0, tenant="default", kind="turn", call_id="c", attempt=1, seq=1)

    one = Told(Read(Position(0, 1), notice, json.dumps({"text": f"call {CALLER}"})))

    assert b"call [\xe2\x80\xa623]" in one.wire
