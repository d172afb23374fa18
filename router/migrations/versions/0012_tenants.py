"""Whose our numbers are, and whose each delivery of the journal is.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the table; what the journal has is the first tenant's."""
    op.create_table(
        "numbers",
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
    )
    tenant = sa.Column("tenant", sa.String(40), nullable=False, server_default="default")
    op.add_column("journal", tenant)
    op.create_index("journal_by_tenant", "journal", ["tenant", "id"])


def downgrade() -> None:
    """Drop both."""
    op.drop_index("journal_by_tenant", "journal")
    op.drop_column("journal", "tenant")
    op.drop_table("numbers")
