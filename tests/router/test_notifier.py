"""Notices on their way: to a real receiver on loopback that checks every signature."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
import structlog

from router.addresses import Neighbours
from router.db import Store
from router.metrics import Metrics
from router.notifier import DELAYS_S, REST_S, UNSIGNED_REST_S, Notifier, next_delay_s
from router.records.hooks import Hooks
from router.records.notices import hooks
from router.seals import Seal
from tests.fakes_personas import FakeClock, until
from tests.hook_receiver import SEAL, Receiver
from tests.servers import serving

VICTIM = Path(__file__).parent / "notifying_process.py"


class Rig:
    """A notifier whose clock a test holds, and a hook."""

    def __init__(self, store: Store, receiver: Receiver, client: httpx.AsyncClient) -> None:
        self.store = store
        self.receiver = receiver
        self.clock = FakeClock(1_700_000_000.0)
        self.hooks = Hooks(store, clock=self.clock, seal=SEAL)
        self.metrics = Metrics()
        self.notifier = Notifier(
            hooks=self.hooks,
            client=client,
            neighbours=Neighbours.of("127.0.0.1,crm.lan"),
            metrics=self.metrics,
            clock=self.clock,
            monotonic=self.clock,
            deadline_s=0.5,
        )
        self.secret = ""

    async def add(self, url: str | None = None) -> str:
        hook, self.secret = await self.hooks.add(url or self.receiver.url, ["alert.raised"])
        return hook.id

    async def alert(self, words: str = "look at this") -> None:
        self.hooks.alert("given_up", words, "c1")
        await self.store.flush()

    async def turn(self) -> None:
        await self.notifier.turn()
        await self.notifier.settled()

    async def states(self) -> list[tuple[str, int, str | None]]:
        page = await self.hooks.notices("default")
        return [(row.state, row.tries, row.error) for row in page.rows]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    store = await Store(f"sqlite:///{tmp_path / 'store.db'}").open()
    client = httpx.AsyncClient(trust_env=False, follow_redirects=False)
    async with Receiver() as receiver, client:
        yield Rig(store, receiver, client)
    await store.aclose()


async def test_a_receiver_can_verify_what_it_is_told(rig: Rig) -> None:
    await rig.add()
    await rig.alert()

    await rig.turn()
    await rig.turn()

    [told] = rig.receiver.told
    assert told.is_signed_with(rig.secret)
    assert told.timestamp == int(rig.clock())
    assert told.webhook_id.startswith("msg_")
    assert told.document["type"] == "alert.raised"
    assert told.document["data"]["because"] == "look at this"
    assert await rig.states() == [("delivered", 1, None)]


async def test_what_fails_is_tried_again_for_a_day_under_one_id_and_then_given_up(rig: Rig) -> None:
    rig.receiver.answer = lambda: 500
    await rig.add()
    await rig.alert()
    begun = rig.clock()

    with structlog.testing.capture_logs() as logs:
        for _ in range(len(DELAYS_S) + 1):
            await rig.turn()
            [notice] = (await rig.hooks.notices("default")).rows
            if notice.state == "waiting":
                rig.clock.now = max(notice.due_at, rig.clock() + REST_S) + 0.01

    assert await rig.states() == [("given_up", len(DELAYS_S) + 1, "status_500")]
    assert 0.85 * 86_400 < rig.clock() - begun < 1.15 * 86_400
    assert len(rig.receiver.told) == len(DELAYS_S) + 1
    assert len({told.webhook_id for told in rig.receiver.told}) == 1
    assert len({told.timestamp for told in rig.receiver.told}) == len(DELAYS_S) + 1
    assert all(told.is_signed_with(rig.secret) for told in rig.receiver.told)
    assert "look at this" not in str(logs)
    assert rig.receiver.url not in str(logs)
    assert rig.secret not in str(logs)

    rig.receiver.answer = lambda: 200
    await rig.hooks.replay(notice.id, "default")
    rig.clock.advance(REST_S)
    await rig.turn()

    assert await rig.states() == [("delivered", 1, None)]
    assert rig.receiver.told[-1].webhook_id == notice.event_id


async def test_a_receiver_that_asks_for_time_gets_it(rig: Rig) -> None:
    rig.receiver.answer = lambda: (503, {"Retry-After": "4000"})
    await rig.add()
    await rig.alert()

    await rig.turn()

    [notice] = (await rig.hooks.notices("default")).rows
    assert notice.due_at == rig.clock() + 4000


async def test_a_redirect_is_a_failure_and_is_not_followed(rig: Rig) -> None:
    async with Receiver() as other:
        rig.receiver.answer = lambda: (307, {"Location": other.url})
        await rig.add()
        await rig.alert()

        await rig.turn()

        assert other.told == []
    assert await rig.states() == [("waiting", 1, "status_307")]


async def test_a_receiver_that_is_gone_is_not_asked_again(rig: Rig) -> None:
    rig.receiver.answer = lambda: 410
    await rig.add()
    await rig.alert()

    with structlog.testing.capture_logs() as logs:
        await rig.turn()
    await rig.alert()
    rig.clock.advance(100)
    await rig.turn()

    assert len(rig.receiver.told) == 1
    assert (await rig.hooks.all("default"))[0].disabled_because == "gone"
    assert [line["action"] for line in logs if line["event"] == "alert.raised"] == ["hook_disabled"]


async def test_one_that_never_answers_has_its_deadline_and_keeps_nobody_else_waiting(
    rig: Rig,
) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side has had enough
        writer.close()

    async with serving(hang) as port:
        await rig.add(f"http://127.0.0.1:{port}/hooks")
        await rig.add()
        await rig.alert()

        await rig.notifier.turn()
        await until(lambda: bool(rig.receiver.told))
        await rig.notifier.settled()

    assert sorted(await rig.states()) == [("delivered", 1, None), ("waiting", 1, "timeout")]


@pytest.mark.parametrize(
    ("host", "addresses", "error"),
    [
        ("crm.lan", ["127.0.0.1"], None),
        ("evil.example", ["10.0.0.9"], "address_refused"),
        ("evil.example", ["93.184.216.34", "169.254.169.254"], "address_refused"),
        ("evil.example", [], "address_refused"),
    ],
)
async def test_where_a_name_leads_is_looked_at_before_anything_is_sent(
    rig: Rig, *, host: str, addresses: list[str], error: str | None
) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses

    rig.notifier.resolve = resolve
    await rig.add(f"http://{host}:{rig.receiver.port}/hooks")
    await rig.alert()

    await rig.turn()

    assert [shown for _, _, shown in await rig.states()] == [error]
    assert len(rig.receiver.told) == (error is None)


async def test_a_hook_that_took_nothing_rests_and_then_all_of_it_is_sent(rig: Rig) -> None:
    answers = itertools.chain([500] * 4, itertools.repeat(204))
    rig.receiver.answer = lambda: next(answers)
    await rig.add()
    for number in range(10):
        await rig.alert(f"number {number}")

    await rig.turn()
    await rig.turn()
    assert len(rig.receiver.told) == 4
    rig.clock.advance(10)
    await rig.turn()

    assert [state for state, _, _ in await rig.states()] == ["delivered"] * 10
    assert rig.metrics.notices["delivered"]._value.get() == 10
    assert rig.metrics.notices["failed"]._value.get() == 4


async def test_a_hook_whose_secret_cannot_be_read_waits_is_counted_and_goes_on_with_a_new_one(
    rig: Rig,
) -> None:
    hook_id = await rig.add()
    await rig.alert()
    lost = Seal(["another_secret_another_secret_an"]).close(rig.secret, hook_id)
    await rig.store.write(lambda c: c.execute(sa.update(hooks).values(secret=lost)))

    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await rig.turn()

    assert [line["event"] for line in logs] == ["hook.secret_unreadable"]
    assert rig.metrics.notices["unsigned"]._value.get() == 1
    assert await rig.states() == [("waiting", 0, None)]
    secret = await rig.hooks.rotate(hook_id, "default")
    assert secret is not None
    rig.clock.advance(UNSIGNED_REST_S)
    await rig.turn()
    [told] = rig.receiver.told
    assert told.is_signed_with(secret)


async def test_after_kill_9_between_sending_and_noting_it_the_same_id_comes_again(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = await Store(url).open()
    hooks = Hooks(store, clock=time.time, seal=SEAL)
    async with Receiver() as receiver, httpx.AsyncClient(trust_env=False) as client:
        _, secret = await hooks.add(receiver.url, ["alert.raised"])
        hooks.alert("given_up", "look at this", None)
        await store.flush()
        victim = await asyncio.create_subprocess_exec(sys.executable, VICTIM, url)

        def killed_before_it_is_answered() -> int:
            if victim.returncode is None:
                victim.kill()
            return 204

        receiver.answer = killed_before_it_is_answered
        await asyncio.wait_for(victim.wait(), 60)
        receiver.answer = lambda: 204
        notifier = Notifier(
            hooks=hooks,
            client=client,
            neighbours=Neighbours.of("127.0.0.1"),
            metrics=Metrics(),
        )
        sending = asyncio.create_task(notifier.run())
        await until(lambda: len(receiver.told) == 2)
        await notifier.settled()
        sending.cancel()
        await asyncio.wait([sending])

    first, second = receiver.told
    assert first.webhook_id == second.webhook_id
    assert first.body == second.body
    assert second.is_signed_with(secret)
    [notice] = (await hooks.notices("default")).rows
    assert (notice.state, notice.tries) == ("delivered", 2)
    await store.aclose()


@pytest.mark.parametrize("spread", [-1.0, 0.0, 1.0])
def test_the_tries_last_a_day_and_end(spread: float) -> None:
    delays = [next_delay_s(tries, spread) for tries in range(1, len(DELAYS_S) + 2)]

    assert delays[-1] is None
    assert 0.89 * 86_400 <= sum(filter(None, delays)) <= 1.11 * 86_400
    assert next_delay_s(1, 0.0, 1e9) == 86_400
