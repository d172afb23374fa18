"""Personas as they were sent, by version: a call that goes on goes on with the same one.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "snapshots",
        sa.Column("version", sa.String(80), primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("kept_at", sa.Float, nullable=False),
    )
    op.create_index("snapshots_by_age", "snapshots", ["kept_at"])


def downgrade() -> None:
    """Drop the table: calls that are resumed then get today's persona."""
    op.drop_table("snapshots")
