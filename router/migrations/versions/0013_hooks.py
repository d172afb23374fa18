"""Hooks, and what they are told.

Revision ID: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "hooks",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False, index=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("secret", sa.String(120), nullable=False),
        sa.Column("old_secret", sa.String(120)),
        sa.Column("old_until", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("failing_since", sa.Float),
        sa.Column("disabled_at", sa.Float),
        sa.Column("disabled_because", sa.String(16)),
    )
    op.create_table(
        "notices",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("hook_id", sa.String(16), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("call_id", sa.String(40)),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("tried_at", sa.Float),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String(32)),
        sa.UniqueConstraint("hook_id", "event_id", name="notices_once"),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "notices_due",
        "notices",
        ["hook_id", "due_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_index("notices_of_tenant", "notices", ["tenant", "id"])
    op.create_index("notices_age", "notices", ["created_at"])
    op.create_index("notices_of_call", "notices", ["call_id"])


def downgrade() -> None:
    """Drop them."""
    for table in ("notices", "hooks"):
        op.drop_table(table)
