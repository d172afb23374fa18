"""What the gate asks: whom we have rung, in one notation; consents; wishes for every tenant.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

from personas.phone import digits_of, parse

revision = "0010"
down_revision = "0009"

_AT_ONCE = 1_000


def upgrade() -> None:
    """Create the tables, and fill that of the rung from the records."""
    op.create_table(
        "rung",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("number", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("rung_by_number", "rung", ["number", "at"])
    op.create_index("rung_by_time", "rung", ["tenant", "at"])
    op.create_table(
        "consents",
        sa.Column("tenant", sa.String(40), primary_key=True),
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("what", sa.String(60), primary_key=True),
        sa.Column("since", sa.Float),
        sa.Column("source", sa.String(200)),
        sa.Column("withdrawn_at", sa.Float),
        sa.Column("via", sa.String(8), nullable=False),
        sa.Column("noted_at", sa.Float, nullable=False),
    )
    # What was said to count everywhere has counted for its tenant alone.
    op.execute("UPDATE do_not_call SET scope = 'tenant' WHERE scope = 'everywhere'")
    _fill()


def downgrade() -> None:
    """Drop them; consents are lost, and wishes for every tenant."""
    op.execute("DELETE FROM do_not_call WHERE tenant = '*'")
    op.execute("UPDATE do_not_call SET scope = 'everywhere' WHERE scope = 'tenant'")
    op.drop_table("consents")
    op.drop_table("rung")


def _fill() -> None:
    names = ("call_id", "tenant", "started_at", "caller", "dialed_number")
    calls = sa.table("calls", sa.column("direction"), *map(sa.column, names))
    rung = sa.table("rung", *map(sa.column, ("call_id", "number", "tenant", "at")))
    select = sa.select(*(calls.c[name] for name in names)).where(calls.c.direction == "outbound")
    connection = op.get_bind()
    for part in connection.execute(select).partitions(_AT_ONCE):
        rows = [
            {
                "call_id": row.call_id,
                "number": number,
                "tenant": row.tenant,
                "at": row.started_at,
            }
            for row in part
            for number in sorted({_known_as(row.caller), _known_as(row.dialed_number)} - {""})
        ]
        if rows:
            connection.execute(sa.insert(rung), rows)


def _known_as(written: str | None) -> str:
    if not written:
        return ""
    parsed = parse(written)
    return (parsed.e164 if parsed else digits_of(written) or "")[:40]
