"""Whom we have called, and which numbers are ours, as the records of calls tell."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from router.campaigns.gate import DAY_S, Spent
from router.campaigns.model import Campaign
from router.db import Store
from router.records.attempts import call_attempt
from router.records.call_tables import calls
from router.records.numbers import numbers
from router.records.rung import forms_of, known_as, rung, rung_at


class PastCalls:
    """Questions about calls that were. Each raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def called(self, tenant: str, since: float) -> Mapping[str, Sequence[float]]:
        """Give when each number was called, by number (E.164); of all campaigns."""
        row = call_attempt.c
        tried = sa.select(row.number, row.claimed_at.label("at")).where(
            _was_call(tenant), row.claimed_at > since
        )
        others = sa.select(rung.c.number, rung.c.at).where(
            rung.c.tenant == tenant,
            rung.c.at > since,
            ~sa.exists().where(row.attempt_id == rung.c.call_id),
        )
        query = sa.union_all(tried, others)
        found: dict[str, list[float]] = {}
        for one in await self._store.read(lambda c: c.execute(query).all()):
            found.setdefault(one.number, []).append(one.at)
        return found

    async def spent(self, tenant: str, campaign: Campaign, at: float) -> Spent:
        """Say what a campaign has spent until *at*."""
        return await self._store.read(lambda c: spent_of(c, tenant, campaign, at))

    async def call_s(self, tenant: str, campaign: str) -> float | None:
        """Say how long a campaign's calls took on average, ringing included; ``None``: none yet."""
        query = sa.select(sa.func.avg(calls.c.ended_at - calls.c.started_at)).where(
            calls.c.tenant == tenant,
            calls.c.direction == "outbound",
            calls.c.campaign_id == campaign,
            calls.c.ended_at.is_not(None),
        )
        took_s = await self._store.read(lambda c: c.scalar(query))
        return None if took_s is None else float(took_s)

    async def own_numbers(self, tenant: str) -> frozenset[str]:
        """Give the numbers at which people have called us."""
        query = sa.select(calls.c.dialed_number).distinct()
        query = query.where(calls.c.tenant == tenant, calls.c.direction == "inbound")
        rows = await self._store.read(lambda c: c.scalars(query).all())
        return frozenset(known_as(one) for one in rows)


def called_at(connection: sa.Connection, tenant: str, number: str, since: float) -> Sequence[float]:
    """Say when *number* (E.164) was called since, in somebody else's transaction.

    A call of ours has an attempt and, a moment later, a record of the same id; it counts once. What
    the gate refused, or was never sent, was no call.
    """
    row = call_attempt.c
    query = sa.select(row.attempt_id, row.claimed_at).where(
        _was_call(tenant), row.number == number, row.claimed_at > since
    )
    ours = {one.attempt_id: one.claimed_at for one in connection.execute(query)}
    return [*ours.values(), *rung_at(connection, tenant, number, since, but_calls=ours)]


def spent_of(connection: sa.Connection, tenant: str, campaign: Campaign, at: float) -> Spent:
    """Say what a campaign has spent until *at*, in somebody else's transaction.

    Where no budget is of all its calls, those of the last 24 hours are all that is counted.
    """
    in_all = campaign.budget_calls is not None or campaign.budget_minutes is not None
    since = 0.0 if in_all else at - DAY_S
    talked_s = sa.case(
        (calls.c.duration_s.is_not(None), calls.c.duration_s),
        (calls.c.answered_at.is_not(None), at - calls.c.answered_at),
        else_=0.0,
    )
    lately = calls.c.started_at > at - DAY_S
    query = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(sa.case((lately, 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(talked_s), 0.0) / 60,
        sa.func.coalesce(sa.func.sum(sa.case((lately, talked_s), else_=0.0)), 0.0) / 60,
    ).where(
        calls.c.tenant == tenant,
        calls.c.direction == "outbound",
        calls.c.campaign_id == campaign.key,
        calls.c.started_at > since,
    )
    of_all, of_day, minutes, minutes_of_day = connection.execute(query).one()
    row = call_attempt.c
    recent = sa.case((row.claimed_at > at - DAY_S, 1), else_=0)
    unrecorded = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(recent), 0)).where(
        _was_call(tenant),
        row.campaign == campaign.key,
        row.claimed_at > since,
        ~sa.exists().where(calls.c.call_id == row.attempt_id),
    )
    further, further_of_day = connection.execute(unrecorded).one()
    return Spent(
        calls=int(of_all) + int(further),
        calls_in_a_day=int(of_day) + int(further_of_day),
        minutes=float(minutes),
        minutes_in_a_day=float(minutes_of_day),
    )


def _was_call(tenant: str) -> sa.ColumnElement[bool]:
    row = call_attempt.c
    return (row.tenant == tenant) & (row.dialed_at.is_not(None) | (row.state == "claimed"))


def is_ours(connection: sa.Connection, tenant: str, number: str) -> bool:
    """Whether *number* (E.164) is anybody's here, or people have called us at it."""
    entered = sa.select(numbers.c.number).where(numbers.c.number == number)
    if connection.execute(entered).first() is not None:
        return True
    query = sa.select(calls.c.call_id).where(
        calls.c.tenant == tenant,
        calls.c.direction == "inbound",
        calls.c.dialed_number.in_(forms_of(number)),
    )
    return connection.execute(query.limit(1)).first() is not None
