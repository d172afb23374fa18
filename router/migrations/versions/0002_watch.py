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
    op.create_index("claims_by_state", "claims", ["state"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("leases")
    op.drop_index("claims_by_state", "claims")
    op.drop_column("claims", "ended_because")
    op.drop_column("claims", "failures")
