"""What is told of calls: facts, and their ends."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from router.records.call_tables import facts
from router.records.notices import Happened

_FACT: Final = ("call_id", "fact_id", "caller", "at", "category", "information")
_END: Final = (
    "call_id",
    "direction",
    "caller",
    "dialed_number",
    "persona_name",
    "persona_version",
    "language",
    "campaign_id",
    "lead_id",
    "started_at",
    "answered_at",
    "ended_at",
    "ring_ms",
    "duration_s",
    "disposition",
    "reason",
    "closed_by",
    "qualification",
    "turns",
    "facts",
)


def shared(
    connection: sa.Connection, call_id: str, attempt: int, seqs: Sequence[int]
) -> list[Happened]:
    """Return what is to be told of the facts that these events of a call have brought."""
    if not seqs:
        return []
    new = sa.select(facts).where(
        facts.c.call_id == call_id, facts.c.attempt == attempt, facts.c.seq.in_(seqs)
    )
    return [
        Happened(
            type="fact.shared",
            tenant=row["tenant"],
            key=f"{call_id} {attempt} {row['seq']}",
            at=row["at"],
            data={name: row[name] for name in _FACT},
            call_id=call_id,
        )
        for row in connection.execute(new.order_by(facts.c.seq)).mappings()
    ]


def ended(before: Any, record: Mapping[str, Any]) -> Happened | None:
    """Return what is to be told when *record* closes, or its end becomes certain.

    *before* is its row as it was.
    """
    ended_at, by = record["ended_at"], record["closed_by"]
    if ended_at is None or (before.ended_at is not None and before.closed_by == by):
        return None
    return Happened(
        type="call.ended",
        tenant=record["tenant"],
        key=f"{record['call_id']} {by} {ended_at}",
        at=ended_at,
        data={name: record[name] for name in _END},
        call_id=record["call_id"],
    )
