"""Records of calls: what was reported, and the lists made of it.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_WORD = sa.String(200)
#: Lists run newest first, within a tenant, by what they may be filtered by.
_CALLS_BY = (
    "caller",
    "dialed_number",
    "persona_name",
    "disposition",
    "qualification",
    "campaign_id",
)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("room", sa.Text),
        sa.Column("room_sid", _WORD),
        sa.Column("sip_call_id", sa.String(256)),
        sa.Column("caller", _WORD),
        sa.Column("dialed_number", _WORD),
        sa.Column("trunk", _WORD),
        sa.Column("persona_name", _WORD),
        sa.Column("persona_version", _WORD),
        sa.Column("persona_origin", _WORD),
        sa.Column("persona_because", sa.Text),
        sa.Column("language", _WORD),
        sa.Column("campaign_id", _WORD),
        sa.Column("lead_id", _WORD),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("answered_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("ring_ms", sa.Float),
        sa.Column("disposition", _WORD),
        sa.Column("reason", sa.Text),
        sa.Column("duration_s", sa.Float),
        sa.Column("closed_by", sa.String(8)),
        sa.Column("qualification", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("facts", sa.Integer, nullable=False),
        sa.Column("tool_calls", sa.Integer, nullable=False),
        sa.Column("problems", sa.Integer, nullable=False),
        sa.Column("opened_by", sa.String(8), nullable=False),
        sa.Column("heard_at", sa.Float, nullable=False),
    )
    op.create_index("calls_by_time", "calls", ["tenant", "started_at", "call_id"])
    for column in _CALLS_BY:
        op.create_index(f"calls_by_{column}", "calls", ["tenant", column, "started_at", "call_id"])
    op.create_index("calls_by_room", "calls", ["room_sid"])
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "calls_open", "calls", ["heard_at"], sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "call_events",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "facts",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("fact_id", _WORD, nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("caller", _WORD),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("category", _WORD, nullable=False),
        sa.Column("information", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    newest = ["at", "call_id", "attempt", "seq"]
    op.create_index("facts_by_time", "facts", ["tenant", *newest])
    op.create_index("facts_by_category", "facts", ["tenant", "category", *newest])
    op.create_index("facts_by_caller", "facts", ["tenant", "caller", *newest])


def downgrade() -> None:
    """Drop them, and with them what they know of calls."""
    for table in ("facts", "call_events", "calls"):
        op.drop_table(table)
