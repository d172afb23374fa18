"""Breakers of campaigns and of trunks, in rows that all routers share.

Every attempt that is over counts once, in the transaction that concludes it. Where too many have
failed no lead is taken for a while; then one call, the probe, may be made, by whichever router
comes first, and what becomes of it decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from personas.breaker import Limits, Standing
from router.db import metadata
from router.records.attempts import Attempt, Order, call_attempt

LIMITS: Final = Limits(in_a_row=10, window=40, share=0.5, open_s=30.0)
CLOSED: Final[Mapping[str, Any]] = {"opened_at": None, "in_a_row": 0, "last": "", "probe": None}
#: Ends that say nothing about a campaign or a trunk.
SAY_NOTHING: Final = frozenset({"uncertain", "canceled"})

dial_breakers = sa.Table(
    "dial_breakers",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("opened_at", sa.Float),
    sa.Column("in_a_row", sa.Integer, nullable=False),
    sa.Column("last", sa.String(64), nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("probe", sa.String(32)),
)


@dataclass(frozen=True, slots=True)
class Name:
    """Whose breaker it is."""

    tenant: str  # empty: trunks are everybody's
    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether a call may be made."""

    given: bool
    again_at: float | None = None  # Unix seconds: when it is worth asking again, if known
    probes: tuple[Name, ...] = ()  # breakers that this call would be the probe of


def names_of(tenant: str, campaign: str, trunk: str) -> Sequence[Name]:
    """Name the breakers of a campaign's calls."""
    return Name("", f"trunk {trunk}"), Name(tenant, f"campaign {campaign}")


class Breakers:
    """The rows, in somebody else's transactions; times are Unix seconds."""

    def __init__(self, *, is_sqlite: bool) -> None:
        insert = (sqlite if is_sqlite else postgresql).insert(dial_breakers)
        self._begin = insert.on_conflict_do_nothing()

    def ask(self, connection: sa.Connection, order: Order, now: float) -> Leave:
        """Say whether a call may be made; whoever was given leave tells with ``begun``."""
        probes: list[Name] = []
        for name, row in _locked(
            connection, names_of(order.tenant, order.campaign.key, order.trunk)
        ):
            standing = _standing(row)
            match standing.state(now, LIMITS):
                case "open":
                    return Leave(False, (standing.opened_at or now) + LIMITS.open_s)
                case "half_open":
                    probe = _state(connection, row.probe)
                    if probe == "answered":  # it may talk for an hour
                        _set(connection, name, **CLOSED, changed_at=now)
                    elif probe is not None:
                        return Leave(False)
                    else:
                        probes.append(name)
        return Leave(True, probes=tuple(probes))

    def begun(self, connection: sa.Connection, leave: Leave, attempt_id: str) -> None:
        """Say which attempt it is that was given *leave*."""
        for name in leave.probes:
            _set(connection, name, probe=attempt_id)

    def ended(self, connection: sa.Connection, attempt: Attempt, state: str, now: float) -> None:
        """Learn from an attempt that is over, exactly once."""
        names = names_of(attempt.tenant, attempt.campaign, attempt.trunk)
        if state not in SAY_NOTHING:
            fresh = {"in_a_row": 0, "last": "", "changed_at": 0.0}
            for one in names:
                connection.execute(self._begin, {"tenant": one.tenant, "name": one.name, **fresh})
        for name, row in _locked(connection, names):
            is_probe = row.probe == attempt.attempt_id
            if state in SAY_NOTHING:
                if is_probe:
                    _set(connection, name, probe=None)
                continue
            failure, before = state == "failed", _standing(row)
            if is_probe:
                after = Standing(opened_at=now) if failure else Standing()
            elif before.opened_at is not None or attempt.claimed_at < row.changed_at:
                continue  # old news
            else:
                after = before.after(failure=failure, now=now, limits=LIMITS)
            turned = {"changed_at": now, "probe": None}
            _set(
                connection,
                name,
                opened_at=after.opened_at,
                in_a_row=after.row,
                last="".join("x" if one else "." for one in after.last),
                **(turned if is_probe or after.opened_at is not None else {}),
            )

    def tripped(
        self, connection: sa.Connection, names: Sequence[Name], now: float
    ) -> Sequence[str]:
        """Name those that let nothing through at *now*."""
        rows = connection.execute(sa.select(dial_breakers).where(_any_of(names)))
        return [row.name for row in rows if _standing(row).state(now, LIMITS) == "open"]


def _any_of(names: Sequence[Name]) -> sa.ColumnElement[bool]:
    row = dial_breakers.c
    return sa.or_(*((row.tenant == one.tenant) & (row.name == one.name) for one in names))


def _locked(connection: sa.Connection, names: Sequence[Name]) -> list[tuple[Name, Any]]:
    query = sa.select(dial_breakers).where(_any_of(names))
    query = query.order_by(dial_breakers.c.tenant, dial_breakers.c.name).with_for_update()
    return [(Name(row.tenant, row.name), row) for row in connection.execute(query).all()]


def _standing(row: Any) -> Standing:
    return Standing(row.opened_at, row.in_a_row, tuple(one == "x" for one in row.last))


def _set(connection: sa.Connection, name: Name, **values: Any) -> None:
    connection.execute(sa.update(dial_breakers).where(_any_of([name])).values(**values))


def _state(connection: sa.Connection, attempt_id: str | None) -> str | None:
    """Say how a probe stands; None: there is none, or nothing is to follow from it any more."""
    row = call_attempt.c
    query = sa.select(row.state).where(row.attempt_id == attempt_id, ~row.settled)
    return None if attempt_id is None else connection.scalar(query)
