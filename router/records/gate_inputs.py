"""Reads all that the gate asks for about one lead, in the transaction that would allow the dial.

First it takes the locks of the campaign's budget and of the person: whoever puts the person on a
list, takes a consent back or claims them for another campaign is done, or waits until this is
committed. What cannot be read is an exception, and the transaction is none: nobody is called.
"""

from typing import Final

import sqlalchemy as sa

from router.campaigns.consent import consents_of, standing
from router.campaigns.gate import DAY_S, GateInputs, Spent, has_budget
from router.campaigns.leads import Lead
from router.records.campaigns import KnownCampaign, campaigns
from router.records.consents import agreements_of
from router.records.do_not_call import scopes_of
from router.records.past_calls import called_at, is_ours, spent_of
from router.records.person_locks import lock_budget, lock_people

WEEK_S: Final = 7 * DAY_S


def gather(
    connection: sa.Connection,
    lead: Lead,
    campaign: KnownCampaign,
    at: float,
    *,
    tenant: str,
    own_numbers: frozenset[str] | None,
) -> GateInputs:
    """Read them; *own_numbers* are those of trunks and files, ``None`` if they are not known.

    *at* is Unix seconds. Raises what SQLAlchemy raises.
    """
    wanted, number = campaign.campaign, lead.phone
    budgeted = has_budget(wanted)
    if budgeted:
        lock_budget(connection, tenant, wanted.key)
    lock_people(connection, [number])
    known = agreements_of(connection, tenant, number)
    if own_numbers is not None and is_ours(connection, tenant, number):
        own_numbers |= {number}
    return GateInputs(
        number=number,
        at=at,
        campaign=wanted,
        archived=_archived(connection, tenant, campaign),
        timezone=lead.timezone,
        listed=scopes_of(connection, tenant, number, wanted.key),
        consents=standing(consents_of(lead.variables), known),
        called_at=called_at(connection, tenant, number, at - WEEK_S),
        spent=spent_of(connection, tenant, wanted, at) if budgeted else Spent(),
        own_numbers=own_numbers,
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
