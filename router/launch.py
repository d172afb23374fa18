"""Asks the gate about campaigns' leads: about one before it is called, and about all of a list.

A large list takes longer than anybody waits for a page. It is counted in the background, chunk by
chunk in the store's readers, with a rest after each for whatever else the router does; who looks
sees how far it is.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

import sqlalchemy as sa
import structlog

from router.campaigns.gate import GateVerdict, Spent, decide
from router.campaigns.policies import shipped
from router.campaigns.preview import Asked, Counting, Preview, ask
from router.db import Store, Work
from router.errors import RequestRefused, StoreUnavailable
from router.records.attempts import Judge, Order
from router.records.campaigns import KnownCampaign
from router.records.gate_inputs import gather, gather_many, standing_of
from router.records.leads import LeadList, leads_after
from router.records.past_calls import call_s_of

log = structlog.get_logger(__name__)

CHUNK: Final = 100  # leads: some ten milliseconds of a reader
AT_ONCE: Final = 200  # leads that are counted while somebody waits
KEPT_S: Final = 60.0  # what has been counted is shown so long
MAX_KEPT: Final = 16
MAX_WAITING: Final = 8
TRIES: Final = 3  # of a chunk, while the database is busy
TRY_AGAIN_S: Final = 1.0


def judge_for(own_numbers: Callable[[], frozenset[str]]) -> Judge:
    """Return what asks the gate about one lead, in the transaction that claims it."""

    def judge(connection: sa.Connection, order: Order, at: float) -> GateVerdict:
        own = _with_caller(own_numbers(), order.known)
        asked = gather(
            connection, order.lead, order.known, at, tenant=order.tenant, own_numbers=own
        )
        return decide(asked, shipped())

    return judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Who would be called by what."""

    tenant: str
    known: KnownCampaign
    leads: LeadList
    own_numbers: frozenset[str]  # of trunks and settings


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a launch by now."""

    seen: Preview  # of those counted
    at: float  # Unix seconds: the moment that it is about
    whole: bool


async def counted(store: Store, launch: Launch, at: float) -> AsyncGenerator[Preview, None]:
    """Count all leads of a launch at *at*, a chunk after the other; each says what came out so far.

    Raises StoreUnavailable.
    """
    known, tenant = launch.known, launch.tenant
    stands = await store.read(lambda c: standing_of(c, known, at, tenant=tenant))
    call_s = await store.read(lambda c: call_s_of(c, tenant, known.campaign.key))
    counting = Counting(campaign=known.campaign, spent=stands.spent, call_s=call_s)
    own = _with_caller(launch.own_numbers, known)
    policies, last = shipped(), 0

    def look(connection: sa.Connection) -> tuple[int, Sequence[Asked]]:
        page = leads_after(connection, launch.leads.id, last, CHUNK)
        leads = [one.lead for one in page]
        inputs = gather_many(
            connection, leads, known, at, tenant=tenant, own_numbers=own, stands=stands
        )
        answers = [ask(lead, one, policies) for lead, one in zip(leads, inputs, strict=True)]
        return page[-1].position if page else last, answers

    yield counting.so_far()
    while True:
        last, answers = await _tried(store, look)
        if not answers:
            return
        for one in answers:
            counting.add(one)
        yield counting.so_far()


_Which: TypeAlias = tuple[str, str, float | None]


@dataclass(slots=True)
class _Count:
    look: Look
    task: "asyncio.Task[None] | None" = None
    ended_at: float | None = None


class Launches:
    """What would happen if campaigns were launched, as far as it has been counted.

    *clock* gives Unix seconds. It is a context: at its end nothing is counted any more.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()  # one list at a time
        self._counts: dict[_Which, _Count] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [one.task for one in self._counts.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self, launch: Launch, at: float | None = None) -> Look:
        """Say what is known of it *at* a time, or now; a large list may have to be looked at again.

        A large list is counted once for each version of the campaign, list and minute; a count that
        is under way is followed to its end.

        Raises:
            StoreUnavailable: the database did not answer; who looks again has it counted again.
            RequestRefused: too many lists are being counted.
        """
        now = self._clock()
        when = now if at is None else at
        if launch.leads.leads <= AT_ONCE:
            steps = [one async for one in counted(self._store, launch, when)]
            return Look(steps[-1], when, whole=True)
        self._forget(now)
        which = _which(launch, at)
        count = self._counts.get(which) or self._begin(which, launch, when)
        if count.task is not None and count.task.done():
            try:
                count.task.result()
            except BaseException:
                del self._counts[which]
                raise
        return count.look

    def _begin(self, which: _Which, launch: Launch, at: float) -> _Count:
        waiting = sum(one.ended_at is None for one in self._counts.values())
        if waiting >= MAX_WAITING:
            fix = "other lists are being counted: look again in a minute"
            raise RequestRefused("too_many_counts", status=409, fix=fix)
        if len(self._counts) >= MAX_KEPT:
            ended = (of for of, one in self._counts.items() if one.ended_at is not None)
            del self._counts[next(ended)]
        nothing = Counting(campaign=launch.known.campaign, spent=Spent()).so_far()
        count = self._counts[which] = _Count(Look(nothing, at, whole=False))
        count.task = asyncio.create_task(self._count(count, launch), name="launch.count")
        return count

    async def _count(self, count: _Count, launch: Launch) -> None:
        try:
            async with self._turn, aclosing(counted(self._store, launch, count.look.at)) as steps:
                began, loops = time.monotonic(), 0
                async for seen in steps:
                    count.look = Look(seen, count.look.at, whole=False)
                    # As long as it took: half of a core is left to calls.
                    await asyncio.sleep(time.monotonic() - began)
                    began, loops = time.monotonic(), loops + 1
            count.look = Look(count.look.seen, count.look.at, whole=True)
            log.info("launch.counted", leads=count.look.seen.total, chunks=loops)
        finally:
            count.ended_at = self._clock()

    def _forget(self, now: float) -> None:
        old = [
            which
            for which, one in self._counts.items()
            if one.ended_at is not None and now - one.ended_at > KEPT_S
        ]
        for which in old:
            del self._counts[which]


async def _tried(
    store: Store, work: Work[tuple[int, Sequence[Asked]]]
) -> tuple[int, Sequence[Asked]]:
    for _ in range(TRIES - 1):
        try:
            return await store.read(work)
        except StoreUnavailable as exc:
            if not exc.passing:
                raise
        await asyncio.sleep(TRY_AGAIN_S)
    return await store.read(work)


def _which(launch: Launch, at: float | None) -> _Which:
    known = launch.known
    version = f"{known.campaign.model_dump_json()} {known.origin} {known.archived}"
    minute = None if at is None else at // 60
    return (launch.tenant, f"{launch.leads.id} {version}", minute)


def _with_caller(own_numbers: frozenset[str], known: KnownCampaign) -> frozenset[str]:
    return own_numbers | {known.campaign.caller_number} - {""}
