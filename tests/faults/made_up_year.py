"""A made-up year of dialing, judged by somebody who has not read the gate.

Whoever the router's own gate lets be called, in the database, is looked at again by an oracle. Its
rules are written down a second time, and it knows lists, consents and calls as they were made.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from router.campaigns.consent import Consent
from router.campaigns.gate import GateInputs, GateVerdict, Spent, decide
from router.campaigns.leads import Lead
from router.campaigns.model import read_campaign
from router.campaigns.policies import shipped
from router.db import Store
from router.errors import StoreUnavailable
from router.records.attempts import Attempt, Attempts, Order, call_attempt
from router.records.campaigns import KnownCampaign
from router.records.consents import Consents, Given
from router.records.do_not_call import EVERYWHERE, OF_TENANT, DoNotCall, campaign_scope
from router.records.gate_inputs import gather
from router.records.rung import note_rung
from tests.faults.scenario import Control, Ground, Run, Scenario, Seen, Size

DIALS: Final[dict[Size, int]] = {"quick": 600, "full": 100_000}
CONTROL_DIALS: Final = 600
END_OF_DAY: Final = 24
DAY_S: Final = 86_400.0
BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

#: What the oracle knows of prefixes, countries and clocks.
ZONES: Final = {
    "+1212": "America/New_York",
    "+1312": "America/Chicago",
    "+1303": "America/Denver",
    "+1415": "America/Los_Angeles",
    "+4930": "Europe/Berlin",
}
HOURS: Final = {"+1": (8, 21, 7), "+4": (8, 20, 6)}  # from, to, days from Monday on
CAPS: Final = {"+1": (3, 7), "+4": (1, 3)}  # in a day, in a week
CAMPAIGNS: Final = {"early": (0, 24), "late": (10, 18), "small": (0, 24)}  # hours from and to
OWN: Final = frozenset({"+13125550100"})
Broken: TypeAlias = Literal["", "clock", "list", "consent", "caps", "budget"]


@dataclass(slots=True)
class Person:
    """Somebody, as the oracle knows them."""

    number: str
    timezone: str  # as the list of leads says; empty: it does not
    agreed: list[float] = field(default_factory=list)  # when
    took_back: list[float] = field(default_factory=list)
    unwanted: set[str] = field(default_factory=set)  # campaigns; "" is all
    called: list[float] = field(default_factory=list)
    in_list: bool = False  # the agreement stands in the list of leads


@dataclass(slots=True)
class World:
    """The year so far."""

    people: list[Person]
    small: int  # what the campaign of that name may spend: calls in 24 hours
    dialed: list[float] = field(default_factory=list)  # by it
    wrong: dict[str, int] = field(default_factory=dict)

    def judge(self, person: Person, campaign: str, at: float) -> None:
        """Note this dial, and what is wrong with it."""
        if person.number in OWN:
            self._note("to ourselves")
        if not self._in_hours(person, campaign, at):
            self._note("outside hours")
        if person.unwanted & {"", campaign}:
            self._note("to do-not-call")
        agreed = max((one for one in person.agreed if one <= at), default=None)
        if agreed is None or any(agreed <= one <= at for one in person.took_back):
            self._note("without consent")
        a_day, a_week = CAPS[person.number[:2]]
        if sum(at - one < DAY_S for one in person.called) >= a_day:
            self._note("over the cap of a day")
        if sum(at - one < 7 * DAY_S for one in person.called) >= a_week:
            self._note("over the cap of a week")
        if campaign == "small":
            if sum(at - one < DAY_S for one in self.dialed) >= self.small:
                self._note("over the budget")
            self.dialed.append(at)
        person.called.append(at)

    def _in_hours(self, person: Person, campaign: str, at: float) -> bool:
        zone = person.timezone or ZONES[person.number[:5]]
        local = datetime.fromtimestamp(at, ZoneInfo(zone))
        opens, closes, days = HOURS[person.number[:2]]
        first, last = CAMPAIGNS[campaign]
        return local.weekday() < days and max(opens, first) <= local.hour < min(closes, last)

    def _note(self, what: str) -> None:
        self.wrong[what] = self.wrong.get(what, 0) + 1


def judge_of(broken: Broken) -> Callable[[sa.Connection, Order, float], GateVerdict]:
    """Ask the gate as the router does; *broken* is what it is not told."""

    def judge(connection: sa.Connection, order: Order, at: float) -> GateVerdict:
        asked = gather(connection, order.lead, order.known, at, tenant="default", own_numbers=OWN)
        asked = _blinded(asked, broken)
        return decide(asked, shipped())

    return judge


def _blinded(asked: GateInputs, broken: Broken) -> GateInputs:
    match broken:
        case "clock":
            return replace(asked, timezone="America/Chicago")
        case "list":
            return replace(asked, listed=())
        case "consent":
            return replace(asked, consents=(Consent("calls", 0.0, "nowhere"),))
        case "caps":
            return replace(asked, called_at=())
        case "budget":
            return replace(asked, spent=Spent())
    return asked


class Year:
    """Lives through it, a step at a time."""

    def __init__(self, store: Store, tries: int, broken: Broken) -> None:
        self.chance = random.Random(2026)  # noqa: S311
        self.now = BEGINS
        self.tries = tries
        self.asked = self.calls = 0
        self._store = store
        clock = lambda: self.now  # noqa: E731
        self._wishes = DoNotCall(store, clock=clock)
        self._consents = Consents(store, clock=clock)
        self._attempts = Attempts(
            store,
            clock=clock,
            new_id=lambda: f"{self.chance.getrandbits(128):032x}",
            owner="one",
            judge=judge_of(broken),
        )
        small = max(1, tries // 2_000)
        self._known = {
            key: KnownCampaign(
                read_campaign(
                    {
                        "name": key,
                        "window": {"opens": f"{first:02}:00", "closes": closes},
                        "budget_calls_per_day": small if key == "small" else None,
                    }
                ),
                "file",
            )
            for key, (first, last) in CAMPAIGNS.items()
            for closes in ("23:59" if last == END_OF_DAY else f"{last:02}:00",)
        }
        share = max(20, int(tries / 70))
        self.world = World([self._person(number) for number in range(share)], small)
        self.world.people.append(Person("+13125550100", "", [BEGINS], in_list=True))

    def _person(self, number: int) -> Person:
        prefix = self.chance.choice(list(ZONES))
        tail = f"{5_550_101 + number}" if prefix.startswith("+1") else f"{901_820 + number}"
        moved = self.chance.choice(["", "", "", *ZONES.values()])
        in_list = self.chance.random() < 0.5
        agreed = [BEGINS + DAY_S * self.chance.randrange(60)] if in_list else []
        return Person(prefix + tail, moved, agreed, in_list=in_list)

    async def live(self) -> None:
        """Call people at random, and have things happen to them."""
        step_s = 365 * DAY_S / self.tries
        for _ in range(self.tries):
            self.now += self.chance.uniform(0.2 * step_s, 1.6 * step_s)
            person = self.chance.choice(self.world.people)
            kind = self.chance.random()
            if kind < 0.05:
                await self._asks_for_peace(person)
            elif kind < 0.10:
                await self._agrees(person)
            elif kind < 0.11:
                await self._takes_back(person)
            elif kind < 0.14:
                await self._is_called_by_another(person)
            for _ in range(2):  # somebody who is called is called again soon
                await self._is_to_be_called(person)
                self.now += min(30.0, step_s / 4)

    async def _asks_for_peace(self, person: Person) -> None:
        campaign = self.chance.choice(["", "", *CAMPAIGNS])
        scope = (
            campaign_scope(campaign) if campaign else self.chance.choice([OF_TENANT, EVERYWHERE])
        )
        await surely(partial(self._wishes.add, person.number, source="call", scope=scope))
        person.unwanted.add(campaign)
        if self.chance.random() < 0.7:  # else the list would have everybody by summer
            others = {OF_TENANT, EVERYWHERE} if not campaign else set()
            for one in {scope, *others}:
                await surely(partial(self._wishes.remove, person.number, scope=one))
            person.unwanted.discard(campaign)

    async def _agrees(self, person: Person) -> None:
        given = [Given(person.number, Consent("calls", self.now, "phone"))]
        await surely(partial(self._consents.give, "default", given, via="call"))
        person.agreed.append(self.now)

    async def _takes_back(self, person: Person) -> None:
        withdraw = partial(self._consents.withdraw, "default", person.number, "calls", via="call")
        await surely(withdraw)
        person.took_back.append(self.now)

    async def _is_called_by_another(self, person: Person) -> None:
        digits = person.number[1:]
        written = self.chance.choice([person.number, digits, f"00{digits}", f"tel:+{digits}"])
        call = {
            "call_id": f"{self.chance.getrandbits(64):016x}",
            "direction": "outbound",
            "tenant": "default",
            "caller": written,
            "dialed_number": None,
            "started_at": self.now,
        }
        await self._store.write(lambda connection: note_rung(connection, call), patient=True)
        person.called.append(self.now)

    async def _is_to_be_called(self, person: Person) -> None:
        self.asked += 1
        key = self.chance.choice(list(CAMPAIGNS))
        agreed = {}
        if person.in_list:
            since = datetime.fromtimestamp(person.agreed[0], UTC).isoformat()
            agreed = {"consent": "calls", "consent_at": since, "consent_source": "form"}
        lead = Lead(phone=person.number, timezone=person.timezone, variables=agreed)
        order = Order(
            tenant="default",
            known=self._known[key],
            campaign_version="1",
            lead=lead,
            lead_id=person.number,
        )

        def call(connection: sa.Connection) -> bool:
            claimed = self._attempts.claim_in(connection, order)
            if not isinstance(claimed, Attempt):
                return False
            over = sa.update(call_attempt).where(call_attempt.c.attempt_id == claimed.attempt_id)
            connection.execute(
                over.values(state="no_answer", dialed_at=self.now, ended_at=self.now, settled=True)
            )
            return True

        if await self._store.write(call, patient=True):
            self.calls += 1
            self.world.judge(person, key, self.now)


async def surely(work: Callable[[], Awaitable[object]]) -> None:
    """Have it done, which may be done twice, though a busy machine keeps the store waiting."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            await work()
            return


async def live(ground: Ground, tries: int, broken: Broken = "") -> Seen:
    """Have it happen, and look at what the oracle says."""
    store = await Store(f"sqlite:///{ground.folder / 'year.db'}").open()
    year = Year(store, tries // 2, broken)
    await year.live()
    await store.aclose()
    wrong = ", ".join(f"{count:,} {what}" for what, count in year.world.wrong.items()) or "0 wrong"
    return Seen(
        holds=not year.world.wrong and year.calls > tries // 50,
        figures=f"{year.asked:,} dials asked for, {year.calls:,} allowed: {wrong}",
    )


async def run(ground: Ground) -> Seen:
    """Ask the whole gate."""
    return await live(ground, DIALS[ground.size])


def without(part: Broken) -> Run:
    """Give the run of a gate that is not told *part*."""

    async def blind(ground: Ground) -> Seen:
        return await live(ground, CONTROL_DIALS, part)

    return blind


SCENARIOS = (
    Scenario(
        name="made_up_year",
        fault="100,000 simulated dials over a made-up year of wishes, consents and clocks",
        must="0 outside hours, to do-not-call, without consent, over caps",
        run=run,
        controls=tuple(
            Control(name=part, bad=f"a gate that is not told: {part}", run=without(part))
            for part in ("clock", "list", "consent", "caps", "budget")
        ),
    ),
)
