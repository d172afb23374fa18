"""Reads all that the gate asks for about leads: of one that is to be dialed, or of many at once.

For a dial it happens in the transaction that would allow it. First it takes the locks of the
campaign's budget and of the person: whoever puts the person on a list, takes a consent back or
claims them for another campaign is done, or waits until this is committed. What cannot be read is
an exception, and the transaction is none: nobody is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from router.campaigns.consent import consents_of, standing
from router.campaigns.gate import DAY_S, GateInputs, Spent, has_budget
from router.campaigns.leads import Lead
from router.records.campaigns import KnownCampaign, campaigns
from router.records.consents import agreements_of
from router.records.do_not_call import scopes_of
from router.records.past_calls import called_at, ours_of, spent_of
from router.records.person_locks import lock_budget, lock_people

WEEK_S: Final = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Standing:
    """What is the same for all leads of a campaign, at one time."""

    archived: bool | None  # None: it was made here and is gone
    spent: Spent


def gather(
    connection: sa.Connection,
    lead: Lead,
    campaign: KnownCampaign,
    at: float,
    *,
    tenant: str,
    own_numbers: frozenset[str] | None,
) -> GateInputs:
    """Read them for a dial; *own_numbers* are those of trunks and files, ``None``: not known.

    *at* is Unix seconds. Raises what SQLAlchemy raises.
    """
    if has_budget(campaign.campaign):
        lock_budget(connection, tenant, campaign.campaign.key)
    lock_people(connection, [lead.phone])
    (asked,) = gather_many(
        connection,
        [lead],
        campaign,
        at,
        tenant=tenant,
        own_numbers=own_numbers,
        stands=standing_of(connection, campaign, at, tenant=tenant),
    )
    return asked


def gather_many(
    connection: sa.Connection,
    leads: Sequence[Lead],
    campaign: KnownCampaign,
    at: float,
    *,
    tenant: str,
    own_numbers: frozenset[str] | None,
    stands: Standing,
) -> Sequence[GateInputs]:
    """Read them for some hundreds of leads, in their order, with a query for each thing to know.

    It takes no locks: what it says may be counted, and nobody may be dialed because of it.
    Otherwise as ``gather``.
    """
    wanted, numbers = campaign.campaign, [lead.phone for lead in leads]
    agreed = agreements_of(connection, tenant, numbers)
    ours = frozenset() if own_numbers is None else ours_of(connection, tenant, numbers)
    listed = scopes_of(connection, tenant, numbers, wanted.key)
    called = called_at(connection, tenant, numbers, at - WEEK_S)
    return [
        GateInputs(
            number=lead.phone,
            at=at,
            campaign=wanted,
            archived=stands.archived,
            timezone=lead.timezone,
            listed=listed.get(lead.phone, ()),
            consents=standing(consents_of(lead.variables), agreed.get(lead.phone, ())),
            called_at=called.get(lead.phone, ()),
            spent=stands.spent,
            own_numbers=own_numbers
            if own_numbers is None or lead.phone not in ours
            else own_numbers | {lead.phone},
        )
        for lead in leads
    ]


def standing_of(
    connection: sa.Connection, campaign: KnownCampaign, at: float, *, tenant: str
) -> Standing:
    """Read whether a campaign is put away, and what it has spent until *at*, if it has a budget."""
    budgeted = has_budget(campaign.campaign)
    return Standing(
        archived=_archived(connection, tenant, campaign),
        spent=spent_of(connection, tenant, campaign.campaign, at) if budgeted else Spent(),
    )


def _archived(connection: sa.Connection, tenant: str, known: KnownCampaign) -> bool | None:
    """Whether the campaign is put away by now; ``None``: it was made here and is gone."""
    if known.origin != "made":
        return False
    query = sa.select(campaigns.c.archived_at).where(
        campaigns.c.tenant == tenant, campaigns.c.key == known.campaign.key
    )
    row = connection.execute(query).first()
    return None if row is None else row.archived_at is not None
