"""Attempts to call somebody, and the runs of campaigns.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "call_attempt",
        sa.Column("attempt_id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("campaign", sa.String(64), nullable=False),
        sa.Column("campaign_version", sa.String(80), nullable=False),
        sa.Column("run_id", sa.String(32)),
        sa.Column("list_id", sa.String(16)),
        sa.Column("position", sa.Integer),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("lead_id", sa.String(64), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("trunk", sa.String(100), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("room", sa.String(64), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("claimed_at", sa.Float, nullable=False),
        sa.Column("dialed_at", sa.Float),
        sa.Column("answered_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("disposition", sa.String(32)),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("hang_up", sa.String(200)),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
    )
    is_open = sa.text("ended_at IS NULL")
    for name, columns in (
        ("call_attempt_open_lead", ["tenant", "lead_id"]),
        ("call_attempt_open_number", ["number"]),
    ):
        op.create_index(
            name,
            "call_attempt",
            columns,
            unique=True,
            sqlite_where=is_open,
            postgresql_where=is_open,
        )
    unsettled = sa.text("NOT settled")
    op.create_index(
        "call_attempt_unsettled",
        "call_attempt",
        ["ended_at"],
        sqlite_where=unsettled,
        postgresql_where=unsettled,
    )
    op.create_index("call_attempt_by_number", "call_attempt", ["number", "claimed_at"])
    op.create_index(
        "call_attempt_by_campaign", "call_attempt", ["tenant", "campaign", "claimed_at"]
    )
    op.create_index("call_attempt_by_run", "call_attempt", ["run_id", "position"])
    op.create_table(
        "campaign_runs",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("campaign", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("list_id", sa.String(16), nullable=False),
        sa.Column("list_name", sa.String(100), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("leads", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("started_by", sa.String(200), nullable=False),
        sa.Column("changed_at", sa.Float, nullable=False),
        sa.Column("because", sa.Text, nullable=False),
    )
    op.create_table(
        "run_waits",
        sa.Column("run_id", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("because", sa.String(32), nullable=False),
    )
    op.create_index("run_waits_due", "run_waits", ["run_id", "due_at"])


def downgrade() -> None:
    """Drop them."""
    for table in ("run_waits", "campaign_runs", "call_attempt"):
        op.drop_table(table)
