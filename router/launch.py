"""Finds out what the gate has to know before a campaign calls anybody."""

from router.campaigns.gate import DAY_S
from router.campaigns.preview import Knowledge
from router.db import Store
from router.records.campaigns import KnownCampaign
from router.records.consents import Consents
from router.records.do_not_call import DoNotCall
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
        spent=await past.spent(tenant, key, at),
        own_numbers=await past.own_numbers(tenant) | ours,
        archived=known.archived,
    )
