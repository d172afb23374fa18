"""Finds out what the gate has to know before a campaign calls anybody."""

import sqlalchemy as sa

from router.campaigns.gate import DAY_S, Verdict, decide
from router.campaigns.policies import shipped
from router.campaigns.preview import Knowledge, question_of
from router.db import Store
from router.records.attempts import Order, call_attempt
from router.records.call_tables import calls
from router.records.campaigns import KnownCampaign
from router.records.do_not_call import EVERYWHERE, DoNotCall, campaign_scope, do_not_call
from router.records.past_calls import PastCalls
from router.settings import RouterSettings


async def knowledge_of(
    store: Store, settings: RouterSettings, tenant: str, known: KnownCampaign, at: float
) -> Knowledge:
    """Read it, as it is now; *at* is Unix seconds. Raises StoreUnavailable."""
    past, key = PastCalls(store), known.campaign.key
    listed = DoNotCall(store, clock=lambda: at)
    ours = {*settings.number_by_trunk().values(), known.campaign.caller_number}
    return Knowledge(
        listed=await listed.numbers(campaign_id=key),
        called=await past.called(tenant, at - 7 * DAY_S),
        calls_made=await past.made(tenant, key),
        own_numbers=await past.own_numbers(tenant) | ours,
        archived=known.archived,
    )


def judge(connection: sa.Connection, order: Order, at: float) -> Verdict:
    """Ask the gate about one lead, in the transaction that claims it; *at* is Unix seconds.

    Attempts that the gate refused were no calls. A call of ours has an attempt and a record of the
    same id, and is counted once.
    """
    number, key, since = order.lead.phone, order.campaign.key, at - 7 * DAY_S
    mine = (call_attempt.c.tenant == order.tenant) & (call_attempt.c.state != "refused")
    others = (
        (calls.c.tenant == order.tenant)
        & (calls.c.direction == "outbound")
        & ~sa.exists().where(call_attempt.c.attempt_id == calls.c.call_id)
    )
    called = [
        sa.select(call_attempt.c.claimed_at).where(
            mine, call_attempt.c.number == number, call_attempt.c.claimed_at > since
        ),
        *(
            sa.select(calls.c.started_at).where(
                others, column == number, calls.c.started_at > since
            )
            for column in (calls.c.caller, calls.c.dialed_number)
        ),
    ]
    made = [
        sa.select(sa.func.count())
        .select_from(call_attempt)
        .where(mine, call_attempt.c.campaign == key),
        sa.select(sa.func.count()).select_from(calls).where(others, calls.c.campaign_id == key),
    ]
    listed = sa.select(do_not_call.c.number).where(
        do_not_call.c.tenant == order.tenant,
        do_not_call.c.number == number,
        do_not_call.c.scope.in_((EVERYWHERE, campaign_scope(key))),
    )
    ours = sa.select(calls.c.call_id).where(
        calls.c.tenant == order.tenant,
        calls.c.dialed_number == number,
        calls.c.direction == "inbound",
    )
    is_ours = connection.execute(ours.limit(1)).first() is not None
    own = {order.campaign.caller_number, *((number,) if is_ours else ())} - {""}
    known = Knowledge(
        listed=frozenset(connection.scalars(listed)),
        called={number: [one for query in called for one in connection.scalars(query)]},
        calls_made=sum(connection.execute(query).scalar_one() for query in made),
        own_numbers=frozenset(own),
        archived=order.archived,
    )
    return decide(question_of(order.lead, order.campaign, known, at), shipped())
