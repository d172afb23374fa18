"""Breakers of campaigns and trunks, which all routers share.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "dial_breakers",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("opened_at", sa.Float),
        sa.Column("in_a_row", sa.Integer, nullable=False),
        sa.Column("last", sa.String(64), nullable=False),
        sa.Column("changed_at", sa.Float, nullable=False),
        sa.Column("probe", sa.String(32)),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("dial_breakers")
