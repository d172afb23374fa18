"""Whom we have called, and which numbers are ours, as the records of calls tell."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from router.campaigns.gate import DAY_S, Spent
from router.campaigns.model import Campaign
from router.records.attempts import call_attempt
from router.records.call_tables import calls
from router.records.numbers import numbers
from router.records.rung import people_of, rung_at


def call_s_of(connection: sa.Connection, tenant: str, campaign: str) -> float | None:
    """Say how long a campaign's calls took on average, ringing included; ``None``: none yet."""
    query = sa.select(sa.func.avg(calls.c.ended_at - calls.c.started_at)).where(
        calls.c.tenant == tenant,
        calls.c.direction == "outbound",
        calls.c.campaign_id == campaign,
        calls.c.ended_at.is_not(None),
    )
    took_s = connection.scalar(query)
    return None if took_s is None else float(took_s)


def called_at(
    connection: sa.Connection, tenant: str, numbers: Sequence[str], since: float
) -> Mapping[str, Sequence[float]]:
    """Say when *numbers* (E.164) were called since, in somebody else's transaction.

    A call of ours has an attempt and, a moment later, a record of the same id; it counts once. What
    the gate refused, or was never sent, was no call.
    """
    row = call_attempt.c
    # Without the tenant: for many numbers SQLite would go through all attempts of the tenant.
    query = sa.select(row.number, row.attempt_id, row.claimed_at, row.tenant).where(
        _was_call(), row.number.in_(numbers), row.claimed_at > since
    )
    found: dict[str, list[float]] = {}
    ours = set()
    for one in connection.execute(query.order_by(row.claimed_at, row.attempt_id)):
        if one.tenant == tenant:
            ours.add((one.number, one.attempt_id))
            found.setdefault(one.number, []).append(one.claimed_at)
    for number, call_id, at in rung_at(connection, tenant, numbers, since):
        if (number, call_id) not in ours:
            found.setdefault(number, []).append(at)
    return found


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
        row.tenant == tenant,
        _was_call(),
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


def _was_call() -> sa.ColumnElement[bool]:
    return call_attempt.c.dialed_at.is_not(None) | (call_attempt.c.state == "claimed")


def ours_of(connection: sa.Connection, tenant: str, asked: Sequence[str]) -> frozenset[str]:
    """Say which of *asked* (E.164) are anybody's here, or people have called us at."""
    entered = sa.select(numbers.c.number).where(numbers.c.number.in_(asked))
    people = people_of(asked)
    dialed = sa.select(calls.c.dialed_number).where(
        calls.c.tenant == tenant,
        calls.c.direction == "inbound",
        calls.c.dialed_number.in_(people),
    )
    found = set(connection.scalars(entered))
    for form in connection.scalars(dialed.distinct()):
        found.update(people[form])
    return frozenset(found)
