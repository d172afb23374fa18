"""Whom we have rung, and when: one row for each outbound call that a record says something about.

The records keep numbers as trunks and other backends write them. Here they are E.164, so that a
person is found again in whatever notation they were called.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from personas.phone import PhoneNumber, digits_of, parse
from router.db import metadata

MAX_CHARS: Final = 40

rung = sa.Table(
    "rung",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.String(MAX_CHARS), primary_key=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
# Without the tenant: SQLite would go through all that the tenant has rung in that time.
_RUNG_SINCE: Final = (  # each dial asks for it; to build a query takes longer than to run it
    sa.select(rung.c.number, rung.c.call_id, rung.c.at, rung.c.tenant)
    .where(
        rung.c.number.in_(sa.bindparam("numbers", expanding=True)),
        rung.c.at > sa.bindparam("since"),
    )
    .order_by(rung.c.at, rung.c.call_id, rung.c.number)
)


def note_rung(connection: sa.Connection, call: Mapping[str, Any]) -> None:
    """Note whom an outbound *call*, a row of ``calls``, has rung; of any other: nothing."""
    if call["direction"] != "outbound":
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(rung)
    rows = [
        {
            "call_id": call["call_id"],
            "number": number,
            "tenant": call["tenant"],
            "at": call["started_at"],
        }
        # Who dials writes the callee into either, as the layout of the job has it.
        for number in sorted({known_as(call["caller"]), known_as(call["dialed_number"])} - {""})
    ]
    if rows:
        again = insert.on_conflict_do_update(
            index_elements=[rung.c.call_id, rung.c.number],
            set_={name: insert.excluded[name] for name in ("at", "tenant")},
        )
        connection.execute(again, rows)


def known_as(written: str | None) -> str:
    """Give E.164 where that can be read, else the digits."""
    if not written:
        return ""
    parsed = parse(written)
    return (parsed.e164 if parsed else digits_of(written) or "")[:MAX_CHARS]


def rung_at(
    connection: sa.Connection, tenant: str, numbers: Iterable[str], since: float
) -> Sequence[tuple[str, str, float]]:
    """Say who of *numbers* (E.164) was rung since, in which call and when, earliest first."""
    people = people_of(numbers)
    return [
        (number, row.call_id, row.at)
        for row in connection.execute(_RUNG_SINCE, {"numbers": list(people), "since": since})
        if row.tenant == tenant
        for number in people[row.number]
    ]


def people_of(numbers: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Give *numbers* (E.164) by each form that one may have been noted in."""
    found: dict[str, list[str]] = {}
    for number in numbers:
        for form in forms_of(number):
            found.setdefault(form, []).append(number)
    return found


@lru_cache(maxsize=1_000)  # the gate asks twice for each lead, and reading a number takes a while
def forms_of(number: str) -> tuple[str, ...]:
    """List what *number* may have been noted as, where a region was needed to read it."""
    one = PhoneNumber(number)
    return tuple(sorted({number, one.digits, one.national, f"00{one.digits}"}))
