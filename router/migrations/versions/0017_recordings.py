"""Recordings of calls.

Revision ID: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "recordings",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("egress_id", sa.String(64), index=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("location", sa.Text),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("error", sa.String(200)),
    )


def downgrade() -> None:
    """Drop it; the recordings stay where LiveKit has put them."""
    op.drop_table("recordings")
