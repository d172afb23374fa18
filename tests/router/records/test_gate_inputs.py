"""What the gate is told, on each database, in the transaction that would allow a dial."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from router.campaigns.consent import Consent
from router.campaigns.gate import GateVerdict, decide
from router.campaigns.leads import Lead
from router.campaigns.model import read_campaign
from router.campaigns.policies import shipped
from router.db import Store
from router.records.attempts import call_attempt
from router.records.call_tables import calls
from router.records.campaigns import Campaigns, KnownCampaign
from router.records.consents import Consents, Given
from router.records.do_not_call import EVERYWHERE, DoNotCall, campaign_scope
from router.records.gate_inputs import gather, gather_many, standing_of
from router.records.numbers import Numbers
from router.records.rung import note_rung
from tests.fakes_personas import FakeClock

NUMBER = "+13125550101"
NOON = 1_795_197_600.0  # a Friday, in Chicago
AGREED = {"consent": "calls", "consent_at": "2026-01-02", "consent_source": "form"}
LEAD = Lead(phone=NUMBER, variables=AGREED)


class Desk:
    """Whoever asks whether a lead may be called."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock(NOON)
        self.campaigns = Campaigns(store, clock=self.clock, files=list)
        self.do_not_call = DoNotCall(store, clock=self.clock)
        self.consents = Consents(store, clock=self.clock)

    async def campaign(self, **fields: Any) -> KnownCampaign:
        """Keep a campaign."""
        return await self.campaigns.add("default", read_campaign({"name": "One", **fields}))

    async def rang(self, call_id: str, **columns: Any) -> None:
        """Keep the record of an outbound call."""
        counts = dict.fromkeys(("attempts", "turns", "facts", "tool_calls", "problems"), 0)
        row = {
            **dict.fromkeys(column.name for column in calls.c),
            **counts,
            "call_id": call_id,
            "tenant": "default",
            "direction": "outbound",
            "opened_by": "agent",
            "started_at": NOON - 3600,
            "heard_at": NOON - 3600,
            **columns,
        }

        def keep(connection: sa.Connection) -> None:
            connection.execute(sa.insert(calls), row)
            note_rung(connection, row)

        await self.store.write(keep)

    async def ask(
        self,
        campaign: KnownCampaign,
        lead: Lead = LEAD,
        *,
        tenant: str = "default",
        own_numbers: frozenset[str] | None = frozenset(),
    ) -> GateVerdict:
        """Ask the gate."""
        asked = await self.store.write(
            lambda c: gather(c, lead, campaign, NOON, tenant=tenant, own_numbers=own_numbers)
        )
        return decide(asked, shipped())


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    store = await Store(store_url).open()
    yield Desk(store)
    await store.aclose()


async def test_who_has_agreed_and_stands_on_no_list_is_called(desk: Desk) -> None:
    verdict = await desk.ask(await desk.campaign())

    assert verdict.because == "allowed"
    assert verdict.inputs["consents"] == [("calls", 1_767_312_000.0, "form")]


@pytest.mark.parametrize(
    ("scope", "of", "because"),
    [
        ("tenant", "default", "do_not_call"),
        (EVERYWHERE, "other", "do_not_call"),
        (campaign_scope("one"), "default", "do_not_call"),
        (campaign_scope("two"), "default", "allowed"),
        ("tenant", "other", "allowed"),
    ],
)
async def test_a_wish_counts_where_it_was_made(
    desk: Desk, scope: str, of: str, because: str
) -> None:
    campaign = await desk.campaign()
    await desk.do_not_call.add(NUMBER, source="api", scope=scope, tenant=of)

    assert (await desk.ask(campaign)).because == because


async def test_consent_that_was_taken_back_does_not_come_back_with_an_old_list(desk: Desk) -> None:
    campaign = await desk.campaign()
    await desk.consents.withdraw("default", NUMBER, "Calls", via="call")

    assert (await desk.ask(campaign)).because == "no_consent"

    again = Given(NUMBER, Consent("calls", NOON, "phone"))
    await desk.consents.give("default", [again], via="api")
    assert (await desk.ask(campaign)).because == "no_consent"  # not after the withdrawal

    desk.clock.now = NOON - 60
    await desk.consents.withdraw("default", NUMBER, "calls", via="api")  # an older one: no change
    (known,) = (await desk.consents.page("default")).rows
    assert (known.since, known.withdrawn_at, known.stands) == (NOON, NOON, False)


async def test_consent_of_the_store_is_enough_without_columns_in_the_list(desk: Desk) -> None:
    campaign, lead = await desk.campaign(), Lead(phone=NUMBER)
    assert (await desk.ask(campaign, lead)).because == "no_consent"

    first, earlier = Consent("calls", NOON - 60, "form"), Consent("calls", NOON - 90, "fair")
    await desk.consents.give("default", [Given(NUMBER, first)], via="csv")
    await desk.consents.give("default", [Given(NUMBER, earlier)], via="csv")

    verdict = await desk.ask(campaign, lead)
    assert (verdict.because, verdict.inputs["consents"]) == (
        "allowed",
        [("calls", NOON - 60, "form")],
    )
    assert (await desk.ask(campaign, lead, tenant="other")).because != "allowed"


@pytest.mark.parametrize(
    "columns",
    [
        {"caller": "+1 (312) 555-0101"},
        {"dialed_number": "+13125550101", "campaign_id": "another"},
        {"caller": "tel:+1-312-555-0101"},
        {"caller": "3125550101"},  # without the region it is not read, and is found all the same
        {"caller": "0013125550101"},
    ],
)
async def test_a_person_is_the_same_in_every_notation_and_campaign(
    desk: Desk, columns: dict[str, str]
) -> None:
    campaign = await desk.campaign()
    await desk.rang("a", **columns)
    await desk.rang("b", **columns)
    assert (await desk.ask(campaign)).because == "allowed"

    await desk.rang("c", **columns)

    assert (await desk.ask(campaign)).because == "too_often"


async def test_the_budget_is_what_the_campaign_has_used(desk: Desk) -> None:
    campaign = await desk.campaign(budget_calls=3, budget_minutes_per_day=5)
    columns = {"caller": "+13125550102", "campaign_id": "one"}
    await desk.rang("a", **columns, duration_s=240.0)
    await desk.rang("b", **columns, duration_s=600.0, started_at=NOON - 90_000)

    verdict = await desk.ask(campaign)
    assert verdict.because == "allowed"
    assert verdict.inputs["spent"] == {
        "calls": 2,
        "calls_in_a_day": 1,
        "minutes": 14.0,
        "minutes_in_a_day": 4.0,
    }

    await desk.rang("c", **columns | {"campaign_id": "two"}, duration_s=600.0)
    await desk.rang("d", **columns, answered_at=NOON - 90, started_at=NOON - 95)  # goes on
    assert (await desk.ask(campaign)).because == "over_budget"


async def test_a_campaign_that_was_put_away_or_removed_calls_nobody(desk: Desk) -> None:
    campaign = await desk.campaign()
    await desk.campaigns.archive("default", "one", archived=True)
    gone = KnownCampaign(read_campaign({"name": "Gone"}), "made")

    assert (await desk.ask(campaign)).because == "campaign_archived"
    assert (await desk.ask(gone)).because == "not_known"
    assert (await desk.ask(KnownCampaign(gone.campaign, "file"))).because == "allowed"


async def test_our_own_numbers_are_those_of_trunks_and_those_that_were_dialed(desk: Desk) -> None:
    campaign = await desk.campaign()

    assert (await desk.ask(campaign, own_numbers=None)).because == "not_known"
    assert (await desk.ask(campaign, own_numbers=frozenset({NUMBER}))).because == "own_number"

    await desk.rang("a", direction="inbound", dialed_number=NUMBER, caller="+13125550109")
    assert (await desk.ask(campaign)).because == "own_number"


async def test_a_number_that_was_entered_is_nobody_to_call(desk: Desk) -> None:
    campaign = await desk.campaign()
    await Numbers(desk.store, clock=desk.clock).assign(NUMBER, "other")

    assert (await desk.ask(campaign)).because == "own_number"


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_read_of_many_is_what_is_read_of_each(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    numbers = [f"+1312555{last:04}" for last in range(100, 160)]
    campaign = await desk.campaign(budget_calls=500, budget_minutes_per_day=900)
    await _live(desk, chance, numbers)
    own = frozenset(chance.sample(numbers, 3))
    leads = [
        Lead(
            phone=number,
            timezone=chance.choice(("", "Asia/Tokyo")),
            variables=chance.choice(({}, AGREED)),
        )
        for number in (*chance.sample(numbers, 50), "+493090182001", numbers[0])
    ]

    def both(connection: sa.Connection) -> None:
        stands = standing_of(connection, campaign, NOON, tenant="default")
        for known in (own, None):
            many = gather_many(
                connection,
                leads,
                campaign,
                NOON,
                tenant="default",
                own_numbers=known,
                stands=stands,
            )
            each = [
                gather(connection, lead, campaign, NOON, tenant="default", own_numbers=known)
                for lead in leads
            ]
            assert list(many) == each
            assert known is None or any(one.listed for one in each)
            assert known is None or any(len(one.called_at or ()) > 1 for one in each)

    await desk.store.write(both, patient=True)


async def _live(desk: Desk, chance: random.Random, numbers: list[str]) -> None:
    """Keep wishes, agreements, calls and numbers of all kinds."""
    tenants = ("default", "default", "other")
    for number in chance.sample(numbers, 20):
        scope = chance.choice(("tenant", EVERYWHERE, campaign_scope("one"), campaign_scope("two")))
        await desk.do_not_call.add(number, source="api", scope=scope, tenant=chance.choice(tenants))
        agreed = [Given(number, Consent(what, NOON - 60, "form")) for what in ("sms", "calls")]
        await desk.consents.give(chance.choice(tenants), agreed, via="api")
        await desk.consents.withdraw("default", chance.choice(numbers), "calls", via="call")
    for call in range(40):
        number = chance.choice(numbers)
        form = chance.choice((number, number[1:], number[2:], f"00{number[1:]}"))
        column = chance.choice(("caller", "dialed_number"))
        await desk.rang(
            f"{call:032x}",
            **{column: form},
            tenant=chance.choice(tenants),
            direction=chance.choice(("outbound", "outbound", "inbound")),
            campaign_id=chance.choice(("one", "two")),
            started_at=NOON - chance.choice((60, 90_000, 700_000)),
            duration_s=30.0,
        )
    await Numbers(desk.store, clock=desk.clock).assign(chance.choice(numbers), "other")
    texts = {
        column.name: ""
        for column in call_attempt.c
        if not column.nullable and column.type.python_type is str
    }
    rows = [
        {
            **texts,
            "attempt_id": f"{call:032x}",  # some have a record as well
            **dict.fromkeys(("lead_id", "room", "identity"), str(call)),
            "tenant": chance.choice(tenants),
            "campaign": chance.choice(("one", "two")),
            "tries": 1,
            "number": chance.choice(numbers),
            "state": chance.choice(("claimed", "failed")),
            "claimed_at": NOON - chance.choice((60, 90_000, 700_000)),
            "dialed_at": chance.choice((None, NOON - 50)),
            "ended_at": NOON - 10,
            "settled": True,
        }
        for call in range(20, 70)
    ]
    await desk.store.write(lambda c: c.execute(sa.insert(call_attempt), rows))
