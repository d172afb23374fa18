"""The journal of deliveries.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "journal",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("decision", sa.String(8)),
        sa.Column("event_id", sa.String(64)),
        sa.Column("event", sa.String(64)),
        sa.Column("room_sid", sa.String(128)),
        sa.Column("call_id", sa.String(40)),
        sa.Column("attempt", sa.Integer),
        sa.Column("source", sa.String(32)),
        sa.Column("version", sa.String(80)),
        sa.Column("stages", sa.Text, nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("replay", sa.Text),
    )
    op.create_index("journal_by_room", "journal", ["room_sid"])
    has_call = sa.text("call_id IS NOT NULL")
    op.create_index(
        "journal_by_call",
        "journal",
        ["call_id"],
        sqlite_where=has_call,
        postgresql_where=has_call,
    )


def downgrade() -> None:
    """Drop the table, and with it what it knows of calls."""
    op.drop_table("journal")
