"""Calls that were erased, so that late reports do not bring them back.

Revision ID: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "erased_calls",
        sa.Column("call_id", sa.String(40), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop it. Reports that agents still have may then bring back what was erased."""
    op.drop_table("erased_calls")
