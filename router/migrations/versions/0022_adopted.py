"""Since when an attempt is looked after by routers other than the one that claimed it.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    op.add_column("call_attempt", sa.Column("adopted_at", sa.Float))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("call_attempt", "adopted_at")
