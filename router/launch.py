"""Finds out what the gate has to know before a campaign calls anybody."""

from collections.abc import Callable

import sqlalchemy as sa

from router.campaigns.gate import DAY_S, GateVerdict, decide
from router.campaigns.policies import shipped
from router.campaigns.preview import Knowledge
from router.db import Store
from router.records.attempts import Judge, Order
from router.records.campaigns import KnownCampaign
from router.records.consents import Consents
from router.records.do_not_call import DoNotCall
from router.records.gate_inputs import gather
from router.records.past_calls import PastCalls
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
        spent=await past.spent(tenant, known.campaign, at),
        own_numbers=await past.own_numbers(tenant) | ours,
        archived=known.archived,
        call_s=await past.call_s(tenant, key),
    )


def judge_for(own_numbers: Callable[[], frozenset[str]]) -> Judge:
    """Return what asks the gate about one lead, in the transaction that claims it."""

    def judge(connection: sa.Connection, order: Order, at: float) -> GateVerdict:
        own = own_numbers() | {order.campaign.caller_number} - {""}
        asked = gather(
            connection, order.lead, order.known, at, tenant=order.tenant, own_numbers=own
        )
        return decide(asked, shipped())

    return judge
