"""The claim of each call: who dispatches its agent.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "claims",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("room_sid", sa.String(128), nullable=False, unique=True),
        sa.Column("sip_call_id", sa.String(256), unique=True),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("dispatch_id", sa.String(128)),
        sa.Column("persona_source", sa.String(32)),
        sa.Column("persona_version", sa.String(80)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("claims")
