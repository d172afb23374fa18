"""What LiveKit's events told of an attempt, for whichever router looks after it.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

COLUMNS = (
    ("agent_seen_at", sa.Float),
    ("callee_seen_at", sa.Float),
    ("left_at", sa.Float),
    ("left_as", sa.String(16)),
    ("room_gone_at", sa.Float),
)


def upgrade() -> None:
    """Add them."""
    for name, kind in COLUMNS:
        op.add_column("call_attempt", sa.Column(name, kind))


def downgrade() -> None:
    """Drop them."""
    for name, _ in COLUMNS:
        op.drop_column("call_attempt", name)
