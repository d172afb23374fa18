"""People ask not to be called while they are being called."""

import asyncio
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from router.campaigns.gate import GateVerdict, decide
from router.campaigns.leads import Lead
from router.campaigns.model import DEFAULT
from router.campaigns.policies import shipped
from router.db import Store
from router.errors import StoreUnavailable
from router.records.attempts import Attempt, Attempts, Order, call_attempt
from router.records.campaigns import KnownCampaign
from router.records.do_not_call import DoNotCall
from router.records.gate_inputs import gather
from tests import postgres
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size

PEOPLE: Final[dict[Size, int]] = {"quick": 60, "full": 1_000}
PER_S: Final = 60  # so many claims begin in a second, and as many wishes
PAUSE_S: Final = 0.5  # between a claim and its dial, at most
WISHES: Final = 20  # that are kept before the naive one dials, however late
NOON: Final = 1_795_197_600.0  # a Friday, in Chicago
AGREED: Final = {"consent": "calls", "consent_at": "2026-01-02", "consent_source": "form"}


@dataclass(slots=True)
class Board:
    """What happened, by the clock of this process."""

    wished: dict[str, float] = field(default_factory=dict)  # when the wish was committed
    late: int = 0  # orders to dial that were begun after that, and were sent
    dialed: int = 0
    claimed: int = 0
    refused: int = 0


def judge(connection: sa.Connection, order: Order, at: float) -> GateVerdict:
    """Ask the gate as the router does."""
    asked = gather(
        connection, order.lead, order.known, at, tenant=order.tenant, own_numbers=frozenset()
    )
    return decide(asked, shipped())


def order_for(number: str) -> Order:
    """Give the order to call *number*."""
    return Order(
        tenant="default",
        known=KnownCampaign(DEFAULT, "builtin"),
        campaign_version="1",
        lead=Lead(phone=number, variables=AGREED),
        lead_id=number,
    )


class Dialing:
    """Claims and dials, as the dialer does."""

    def __init__(self, store: Store, board: Board, chance: random.Random) -> None:
        self._attempts = Attempts(
            store,
            clock=lambda: NOON,
            new_id=lambda: f"{chance.getrandbits(128):032x}",
            owner="one",
            judge=judge,
        )
        self._board = board

    async def call(self, number: str, pause_s: float) -> None:
        """Call *number*, if it may be called."""
        claimed = await self._attempts.claim(order_for(number))
        if not isinstance(claimed, Attempt):
            self._board.refused += 1
            return
        self._board.claimed += 1
        await asyncio.sleep(pause_s)  # the persona is being looked up
        began = time.monotonic()
        if await self._attempts.dialing(claimed.attempt_id):
            self._board.dialed += 1
            self._board.late += began > self._board.wished.get(number, float("inf"))


class NaiveDialing(Dialing):
    """Looks at the list, and dials then."""

    def __init__(self, store: Store, board: Board, chance: random.Random) -> None:
        super().__init__(store, board, chance)
        self._list = DoNotCall(store, clock=lambda: NOON)

    async def call(self, number: str, pause_s: float) -> None:
        """Call *number*, if it was not on the list when it was looked at."""
        if await self._list.holds(number):
            return
        await asyncio.sleep(pause_s)
        # A busy machine takes its time to keep wishes.
        while len(self._board.wished) < WISHES:  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(0.01)
        self._board.dialed += 1
        self._board.late += time.monotonic() > self._board.wished.get(number, float("inf"))


async def on(url: str, people: int, dialing: type[Dialing] = Dialing) -> tuple[Board, int]:
    """Have *people* called and opt out at once; return what happened, and calls that ring on."""
    chance = random.Random(7)  # noqa: S311
    calling, asking = await Store(url).open(), await Store(url).open()
    board = Board()
    dialer, wishes = dialing(calling, board, chance), DoNotCall(asking, clock=lambda: NOON)
    numbers = [f"+13125{number:06}" for number in range(550_100, 550_100 + people)]

    async def call(number: str) -> None:
        await asyncio.sleep(chance.uniform(0, within_s))
        try:
            await dialer.call(number, chance.uniform(0, PAUSE_S))
        except StoreUnavailable:  # so nobody is called
            board.refused += 1

    async def wish(*wanted: str) -> None:
        await asyncio.sleep(chance.uniform(0, within_s))
        while True:
            try:
                if len(wanted) == 1:
                    await wishes.add(wanted[0], source=chance.choice(("call", "api")))
                else:
                    await wishes.add_all(wanted, source="csv")
            except StoreUnavailable:
                continue
            break
        board.wished |= dict.fromkeys(wanted, time.monotonic())

    within_s = people / PER_S
    half = people // 2
    lists = [wish(*numbers[first : first + 25]) for first in range(half, people, 25)]
    await asyncio.gather(*map(call, numbers), *map(wish, numbers[:half]), *lists)
    rings = sa.select(sa.func.count()).where(
        call_attempt.c.ended_at.is_(None), call_attempt.c.hang_up.is_(None)
    )
    ringing = await calling.read(lambda c: c.execute(rings).scalar_one())
    await calling.aclose()
    await asking.aclose()
    return board, ringing


async def run(ground: Ground, dialing: type[Dialing] = Dialing) -> Seen:
    """Try it on SQLite, and on PostgreSQL where it is."""
    people, told, good = PEOPLE[ground.size], [], True
    with ExitStack() as stack:
        urls = {"SQLite": f"sqlite:///{ground.folder / 'store.db'}"}
        if ground.size == "full" and dialing is Dialing and postgres.binaries() is not None:
            urls["PostgreSQL"] = stack.enter_context(postgres.running()).new_database()
        for name, url in urls.items():
            board, ringing = await on(url, people, dialing)
            good = good and not (board.late or ringing)
            told.append(
                f"{name}: {people:,} people, {board.claimed:,} claimed, {board.dialed:,} dialed "
                f"before they asked, {board.late} after, {ringing} that nothing stops"
            )
    return Seen(holds=good, figures="; ".join(told))


async def naive(ground: Ground) -> Seen:
    """Look first, dial then."""
    return await run(ground, NaiveDialing)


SCENARIOS = (
    Scenario(
        name="opt_outs",
        fault="1,000 people opt out while they are being called",
        must="0 dials after the commit; what rings is told to stop",
        run=run,
        controls=(Control(name="naive", bad="looks at the list, and dials then", run=naive),),
    ),
)
