"""Finds out what the gate has to know before a campaign calls anybody."""

from dataclasses import replace

import sqlalchemy as sa

from router.campaigns.gate import DAY_S, GateInputs, GateVerdict, decide, has_budget
from router.campaigns.policies import shipped
from router.campaigns.preview import Knowledge
from router.db import Store
from router.records.attempts import Judge, Order, call_attempt
from router.records.call_tables import calls
from router.records.campaigns import KnownCampaign
from router.records.consents import Consents
from router.records.do_not_call import DoNotCall
from router.records.gate_inputs import WEEK_S, gather
from router.records.past_calls import PastCalls
from router.records.rung import rung_at
from router.settings import RouterSettings


async def knowledge_of(
    store: Store, settings: RouterSettings, tenant: str, known: KnownCampaign, at: float
) -> Knowledge:
    """Read it, as it is now; *at* is Unix seconds. Raises StoreUnavailable."""
    past, key = PastCalls(store), known.campaign.key
    listed = DoNotCall(store, clock=lambda: at)
    agreed = await Consents(store, clock=lambda: at).by_number(tenant)
    ours = {*settings.number_by_trunk().values(), known.campaign.caller_number}
    return Knowledge(
        listed=await listed.scopes(campaign_id=key, tenant=tenant),
        agreed=agreed,
        called=await past.called(tenant, at - 7 * DAY_S),
        spent=await past.spent(tenant, key, at),
        own_numbers=await past.own_numbers(tenant) | ours,
        archived=known.archived,
        call_s=await past.call_s(tenant, key),
    )


def judge_for(settings: RouterSettings) -> Judge:
    """Return what asks the gate about one lead, in the transaction that claims it."""
    trunks = frozenset(settings.number_by_trunk().values())

    def judge(connection: sa.Connection, order: Order, at: float) -> GateVerdict:
        own = trunks | {order.campaign.caller_number} - {""}
        asked = gather(
            connection, order.lead, order.known, at, tenant=order.tenant, own_numbers=own
        )
        return decide(with_attempts(connection, order, asked), shipped())

    return judge


def with_attempts(connection: sa.Connection, order: Order, asked: GateInputs) -> GateInputs:
    """Add the attempts of which the records of calls know nothing yet.

    A call of ours has an attempt and, a moment later, a record of the same id and room; it counts
    once. What the gate refused, or what was never sent, was no call.
    """
    row = call_attempt.c
    was_call = (row.tenant == order.tenant) & (
        row.dialed_at.is_not(None) | (row.state == "claimed")
    )
    since = asked.at - WEEK_S
    query = sa.select(row.claimed_at, row.room).where(
        was_call, row.number == asked.number, row.claimed_at > since
    )
    ours = connection.execute(query).all()
    rooms = [one.room for one in ours]
    others = rung_at(connection, order.tenant, asked.number, since, but_rooms=rooms)
    asked = replace(asked, called_at=[*others, *(one.claimed_at for one in ours)])
    if asked.spent is None or not has_budget(order.campaign):
        return asked
    lately = sa.case((row.claimed_at > asked.at - DAY_S, 1), else_=0)
    unrecorded = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(lately), 0)).where(
        was_call,
        row.campaign == order.campaign.key,
        ~sa.exists().where(calls.c.call_id == row.attempt_id),
    )
    of_all, of_day = connection.execute(unrecorded).one()
    spent = replace(
        asked.spent,
        calls=asked.spent.calls + of_all,
        calls_in_a_day=asked.spent.calls_in_a_day + of_day,
    )
    return replace(asked, spent=spent)
