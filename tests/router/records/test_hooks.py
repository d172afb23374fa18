"""Hooks and their notices on each database: written with the event, and sent by one sender."""

import json
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from personas.reports import CallReport, Closed, Event, Fact, Opened, numbered
from router.db import Store
from router.errors import BadCursor, HookRefused
from router.records.calls import Calls
from router.records.do_not_call import EVERYWHERE, DoNotCall
from router.records.hooks import DISABLE_AFTER_S, MAX_HOOKS, OLD_SECRET_S, Due, Hooks, Tried
from router.records.notices import EVENT_TYPES, EventType, Happened, announce, notices
from router.records.notices import hooks as hook_table
from router.seals import Seal
from tests.fakes_personas import FakeClock
from tests.hook_receiver import SEAL

URL = "https://crm.example.org/hooks"
CALLER = "+13125550101"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = await Store(store_url).open()
    yield store
    await store.aclose()


@pytest.fixture
def hooks(store: Store, clock: FakeClock) -> Hooks:
    return Hooks(store, clock=clock, seal=SEAL)


def report(*events: Event, attempt: int = 1, first: int = 1) -> CallReport:
    made = [
        numbered(event, seq=seq, attempt=attempt, at=900.0 + seq)
        for seq, event in enumerate(events, first)
    ]
    return CallReport(call_id="c1", events=tuple(made))


CLOSED = Closed(reason="the caller hung up", disposition="answered", duration_s=60)


async def told(store: Store) -> list[tuple[str, dict[str, object]]]:
    select = sa.select(notices.c.type, notices.c.body).order_by(notices.c.id)
    rows = await store.read(lambda c: c.execute(select).all())
    return [(row.type, json.loads(row.body)["data"]) for row in rows]


async def test_a_call_tells_its_facts_and_its_end_once_however_often_it_is_reported(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    await hooks.add(URL, EVENT_TYPES)
    calls = Calls(store, clock=clock)
    opened = Opened(direction="inbound", caller=CALLER, answered_at=901.0)
    whole = report(opened, Fact(id="f1", category="name", information="Ruth"), CLOSED)

    await calls.take(whole)
    await calls.take(whole)

    [(first, fact), (second, end)] = await told(store)
    assert (first, second) == ("fact.shared", "call.ended")
    assert (fact["caller"], fact["category"], fact["information"]) == (CALLER, "name", "Ruth")
    assert (end["caller"], end["disposition"], end["closed_by"]) == (CALLER, "answered", "agent")
    assert (end["facts"], end["ended_at"], end["call_id"]) == (1, 903.0, "c1")


async def test_what_the_router_guessed_of_an_end_is_followed_by_what_the_agent_knows(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    await hooks.add(URL, ["call.ended"])
    calls = Calls(store, clock=clock)
    await calls.take(report(Opened(direction="inbound", caller=CALLER)))
    await calls.ended(["c1"], "the room was closed")
    await calls.ended(["c1"], "the room was closed")
    await calls.take(report(CLOSED, first=2))

    assert [end["closed_by"] for _, end in await told(store)] == ["router", "agent"]


async def test_each_wish_not_to_be_called_is_told_once_of_a_file_too(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    await hooks.add(URL, ["number.opted_out"])
    entries = DoNotCall(store, clock=clock)
    await entries.add(CALLER, source="call", call_id="c1", reason="asked to")
    await entries.add(CALLER, source="api")
    await entries.add_all([CALLER, "+13125550102"], source="csv")

    assert await entries.add_all([CALLER, "+13125550102"], source="csv") == 0

    wishes = [wish for _, wish in await told(store)]
    assert [(wish["number"], wish["source"], wish["call_id"]) for wish in wishes] == [
        (CALLER, "call", "c1"),
        ("+13125550102", "csv", None),
    ]


async def test_a_wish_for_every_tenant_is_told_to_each_without_its_reason(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    for tenant in ("default", "acme", "acme", "north"):
        events: list[EventType] = ["fact.shared" if tenant == "north" else "number.opted_out"]
        await hooks.add(URL, events, tenant=tenant)
    entries = DoNotCall(store, clock=clock)
    await entries.add(CALLER, source="api", scope=EVERYWHERE, reason="a letter")

    await entries.add_all([CALLER, "+13125550102"], source="csv", scope=EVERYWHERE)

    ours, theirs = await hooks.notices("default"), await hooks.notices("acme")
    assert (len(ours.rows), len(theirs.rows)) == (2, 4)
    assert {one.event_id for one in ours.rows} == {one.event_id for one in theirs.rows}
    wishes = [(wish["number"], wish["scope"], wish["reason"]) for _, wish in await told(store)]
    assert set(wishes) == {(one, EVERYWHERE, "") for one in (CALLER, "+13125550102")}


async def test_a_hook_hears_of_its_tenant_and_what_it_asked_for_alone(
    store: Store, hooks: Hooks
) -> None:
    await hooks.add(URL, ["alert.raised"])
    await hooks.add(URL, ["fact.shared"])
    await hooks.add(URL, EVENT_TYPES, tenant="acme")
    off, _ = await hooks.add(URL, EVENT_TYPES)
    assert await hooks.change(off.id, "default", disabled=True)

    hooks.alert("given_up", "no agent has come", "c1")
    await store.flush()

    [(kind, alert)] = await told(store)
    assert (kind, alert["action"], alert["call_id"]) == ("alert.raised", "given_up", "c1")


async def test_an_event_that_is_rolled_back_has_told_nobody(store: Store, hooks: Hooks) -> None:
    await hooks.add(URL, EVENT_TYPES)
    happened = Happened(type="alert.raised", tenant="default", key="1", at=1.0, data={})

    def fail(connection: sa.Connection) -> None:
        announce(connection, [happened], 1.0)
        raise ValueError("of the event")

    with pytest.raises(ValueError, match="of the event"):
        await store.write(fail)

    assert await told(store) == []


async def test_long_words_are_cut_and_a_body_stays_small() -> None:
    happened = Happened(
        type="fact.shared", tenant="default", key="1", at=1.5, data={"information": "ü" * 20_000}
    )

    document = json.loads(happened.body())

    assert len(document["data"]["information"]) == 8_000
    assert document["timestamp"] == "1970-01-01T00:00:01.500Z"


async def prepared(store: Store, hooks: Hooks, count: int = 1) -> str:
    hook, _ = await hooks.add(URL, EVENT_TYPES)
    for number in range(count):
        hooks.alert("given_up", f"number {number}", None)
    await store.flush()
    return hook.id


async def test_a_claimed_notice_is_one_senders_until_its_lease_is_over(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    hook_id = await prepared(store, hooks, 3)
    other = Hooks(store, clock=clock, seal=SEAL)

    [mine] = await hooks.claim(hook_id, most=1, for_s=60)
    theirs = await other.claim(hook_id, most=5, for_s=60)
    assert mine.id not in {one.id for one in theirs}
    assert len(theirs) == 2
    assert await other.claim(hook_id, most=5, for_s=60) == []

    clock.advance(61)
    again = await other.claim(hook_id, most=1, for_s=60)
    assert [(one.id, one.event_id, one.tries) for one in again] == [(mine.id, mine.event_id, 2)]


def tried(due: Due, *, error: str | None = None, again_at: float | None = None) -> Tried:
    return Tried(due=due, status=500 if error else 204, error=error, again_at=again_at)


async def test_what_failed_is_due_again_then_and_what_is_given_up_can_be_replayed(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    hook_id = await prepared(store, hooks, 3)
    [to] = await hooks.recipients()
    one, two, three = await hooks.claim(hook_id, most=5, for_s=60)
    await hooks.settle(to, [tried(one), tried(two, error="status_500", again_at=clock() + 300)])
    await hooks.settle(to, [tried(three, error="timeout")])

    page = await hooks.notices("default")
    assert {row.id: row.state for row in page.rows} == {
        one.id: "delivered",
        two.id: "waiting",
        three.id: "given_up",
    }
    assert await hooks.recipients() == []
    assert [row.id for row in (await hooks.notices("default", state="given_up")).rows] == [three.id]

    assert await hooks.replay(one.id, "default")
    assert not await hooks.replay(one.id, "acme")
    assert await hooks.replay_range(hook_id, "default", since=0, until=clock() + 1) == 1
    assert await hooks.replay_range(hook_id, "acme", since=0, until=clock() + 1) == 0
    again = await hooks.claim(hook_id, most=5, for_s=60)
    assert {due.event_id for due in again} == {one.event_id, three.event_id}


async def test_a_hook_that_fails_for_days_is_disabled_and_others_are_told(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    hook_id = await prepared(store, hooks, 1)
    await hooks.add(URL, ["alert.raised"])
    [to] = await hooks.recipients()

    async def fail() -> bool:
        [due] = await hooks.claim(hook_id, most=1, for_s=60)
        return await hooks.settle(to, [tried(due, error="timeout", again_at=clock())])

    assert not await fail()
    clock.advance(DISABLE_AFTER_S - 1)
    assert not await fail()
    clock.advance(2)
    assert await fail()

    [failed, other] = await hooks.all("default")
    assert (failed.disabled_because, other.disabled_because) == ("failing", None)
    assert [data["action"] for _, data in await told(store)] == ["given_up", "hook_disabled"]
    assert [one.hook_id for one in await hooks.recipients()] == [other.id]
    assert await hooks.change(hook_id, "default", disabled=False)
    assert (await hooks.all("default"))[0].failing_since is None


async def test_one_success_forgets_the_failures_before(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    hook_id = await prepared(store, hooks, 2)
    [to] = await hooks.recipients()
    one, two = await hooks.claim(hook_id, most=2, for_s=60)
    await hooks.settle(to, [tried(one, error="timeout", again_at=clock())])
    assert (await hooks.all("default"))[0].failing_since == clock()

    await hooks.settle(to, [tried(two)])

    assert (await hooks.all("default"))[0].failing_since is None


async def test_after_a_change_both_secrets_sign_for_a_day(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    hook, old = await hooks.add(URL, EVENT_TYPES)
    hooks.alert("given_up", "", None)
    await store.flush()
    new = await hooks.rotate(hook.id, "default")

    assert (await hooks.recipients())[0].secrets == (new, old)
    clock.advance(OLD_SECRET_S + 1)
    assert (await hooks.recipients())[0].secrets == (new,)
    assert await hooks.rotate(hook.id, "acme") is None


async def test_a_hook_is_changed_and_removed_by_its_tenant_alone(
    store: Store, hooks: Hooks
) -> None:
    hook_id = await prepared(store, hooks)

    assert not await hooks.change(hook_id, "acme", url="https://evil.example/")
    assert not await hooks.remove(hook_id, "acme")
    assert await hooks.change(hook_id, "default", url=f"{URL}/2", events=["call.ended"], note="CRM")
    [hook] = await hooks.all("default")
    assert (hook.url, hook.events, hook.note) == (f"{URL}/2", ("call.ended",), "CRM")
    assert await hooks.remove(hook_id, "default")
    assert (await hooks.notices("default")).rows == ()


async def test_a_tenant_has_so_many_hooks_and_lists_have_cursors(
    store: Store, hooks: Hooks
) -> None:
    for _ in range(MAX_HOOKS):
        await hooks.add(URL, ["alert.raised"])
    with pytest.raises(HookRefused):
        await hooks.add(URL, ["alert.raised"])
    hooks.alert("given_up", "", None)
    await store.flush()

    first = await hooks.notices("default", limit=15)
    second = await hooks.notices("default", cursor=first.next, limit=15)

    assert (len(first.rows), len(second.rows), second.next) == (15, 5, None)
    assert (await hooks.notices("default", hook_id="x", event="call.ended")).rows == ()
    with pytest.raises(BadCursor):
        await hooks.notices("default", cursor="x")


async def kept_secrets(store: Store) -> list[str]:
    select = sa.select(hook_table.c.secret).order_by(hook_table.c.created_at)
    return list(await store.read(lambda c: c.scalars(select).all()))


async def test_secrets_are_sealed_and_follow_a_change_of_livekits_key(
    store: Store, clock: FakeClock
) -> None:
    old, new = "old_secret_old_secret_old_secret", "new_secret_new_secret_new_secret"
    before = Hooks(store, clock=clock, seal=Seal([old]))
    hook, first = await before.add(URL, EVENT_TYPES)
    second = await before.rotate(hook.id, "default")
    before.alert("given_up", "no agent has come", None)
    await store.flush()

    await Hooks(store, clock=clock, seal=Seal([new, old])).seal_anew()
    after = Hooks(store, clock=clock, seal=Seal([new]))

    [to] = await after.recipients()
    assert to.secrets == (second, first)
    [gone] = await before.recipients()
    assert gone.secrets == ()  # its key is not the one any more
    assert all("whsec_" not in kept for kept in await kept_secrets(store))


async def test_secrets_of_before_they_were_sealed_are_sealed_and_lost_ones_can_be_replaced(
    store: Store, clock: FakeClock, hooks: Hooks
) -> None:
    hook_id = await prepared(store, hooks)
    clear = "whsec_" + "A" * 44
    await store.write(lambda c: c.execute(sa.update(hook_table).values(secret=clear)))

    await hooks.seal_anew()

    [to] = await hooks.recipients()
    assert to.secrets == (clear,)
    assert clear not in await kept_secrets(store)

    other = Hooks(store, clock=clock, seal=Seal(["another_secret_another_secret_an"]))
    await other.seal_anew()
    assert (await other.recipients())[0].secrets == ()
    renewed = await other.rotate(hook_id, "default")
    assert (await other.recipients())[0].secrets == (renewed,)
