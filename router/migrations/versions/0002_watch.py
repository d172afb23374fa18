"""What watching over calls needs: failures in a row, why a call ended, who sweeps.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and the table."""
    failures = sa.Column("failures", sa.Integer, nullable=False, server_default="0")
    op.add_column("claims", failures)
    op.add_column("claims", sa.Column("ended_because", sa.Text))
    # The sweep reads the open calls every second, among those of a whole day.
    is_open = sa.text("state <> 'ended'")
    op.create_index(
        "claims_open", "claims", ["state"], sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("leases")
    op.drop_index("claims_open", "claims")
    op.drop_column("claims", "ended_because")
    op.drop_column("claims", "failures")
