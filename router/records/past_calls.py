"""Whom we have called, and which numbers are ours, as the records of calls tell."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from router.campaigns.gate import DAY_S, Spent
from router.campaigns.model import Campaign
from router.records.attempts import call_attempt
from router.records.call_tables import calls
from router.records.numbers import numbers
from router.records.rung import people_of, rung_at

# Each dial asks all this, and to build a query takes longer than to run it: they are built once.
_WAS_CALL: Final = call_attempt.c.dialed_at.is_not(None) | (call_attempt.c.state == "claimed")
# Without the tenant: for many numbers SQLite would go through all attempts of the tenant.
_DIALED_SINCE: Final = (
    sa.select(
        call_attempt.c.number,
        call_attempt.c.attempt_id,
        call_attempt.c.claimed_at,
        call_attempt.c.tenant,
    )
    .where(
        _WAS_CALL,
        call_attempt.c.number.in_(sa.bindparam("numbers", expanding=True)),
        call_attempt.c.claimed_at > sa.bindparam("since"),
    )
    .order_by(call_attempt.c.claimed_at, call_attempt.c.attempt_id)
)
_LATELY: Final = calls.c.started_at > sa.bindparam("day_ago")
_TALKED_S: Final = sa.case(
    (calls.c.duration_s.is_not(None), calls.c.duration_s),
    (calls.c.answered_at.is_not(None), sa.bindparam("at", type_=sa.Float) - calls.c.answered_at),
    else_=0.0,
)
_RECORDED: Final = sa.select(
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(sa.case((_LATELY, 1), else_=0)), 0),
    sa.func.coalesce(sa.func.sum(_TALKED_S), 0.0) / 60,
    sa.func.coalesce(sa.func.sum(sa.case((_LATELY, _TALKED_S), else_=0.0)), 0.0) / 60,
).where(
    calls.c.tenant == sa.bindparam("tenant"),
    calls.c.direction == "outbound",
    calls.c.campaign_id == sa.bindparam("campaign"),
    calls.c.started_at > sa.bindparam("since"),
)
_DIALED_LATELY: Final = sa.case((call_attempt.c.claimed_at > sa.bindparam("day_ago"), 1), else_=0)
_UNRECORDED: Final = sa.select(
    sa.func.count(), sa.func.coalesce(sa.func.sum(_DIALED_LATELY), 0)
).where(
    call_attempt.c.tenant == sa.bindparam("tenant"),
    _WAS_CALL,
    call_attempt.c.campaign == sa.bindparam("campaign"),
    call_attempt.c.claimed_at > sa.bindparam("since"),
    ~sa.exists().where(calls.c.call_id == call_attempt.c.attempt_id),
)
_ENTERED: Final = sa.select(numbers.c.number).where(
    numbers.c.number.in_(sa.bindparam("numbers", expanding=True))
)
_CALLED_AT: Final = (
    sa.select(calls.c.dialed_number)
    .where(
        calls.c.tenant == sa.bindparam("tenant"),
        calls.c.direction == "inbound",
        calls.c.dialed_number.in_(sa.bindparam("numbers", expanding=True)),
    )
    .distinct()
)


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
    found: dict[str, list[float]] = {}
    ours = set()
    for one in connection.execute(_DIALED_SINCE, {"numbers": numbers, "since": since}):
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
    asked: dict[str, Any] = {"tenant": tenant, "campaign": campaign.key}
    asked |= {"since": since, "day_ago": at - DAY_S}
    recorded = connection.execute(_RECORDED, asked | {"at": at})
    of_all, of_day, minutes, minutes_of_day = recorded.one()
    further, further_of_day = connection.execute(_UNRECORDED, asked).one()
    return Spent(
        calls=int(of_all) + int(further),
        calls_in_a_day=int(of_day) + int(further_of_day),
        minutes=float(minutes),
        minutes_in_a_day=float(minutes_of_day),
    )


def ours_of(connection: sa.Connection, tenant: str, asked: Sequence[str]) -> frozenset[str]:
    """Say which of *asked* (E.164) are anybody's here, or people have called us at."""
    people = people_of(asked)
    found = set(connection.scalars(_ENTERED, {"numbers": asked}))
    for form in connection.scalars(_CALLED_AT, {"tenant": tenant, "numbers": list(people)}):
        found.update(people[form])
    return frozenset(found)
