"""What tools keep: appointments, and who must not be called.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "appointments",
        sa.Column("tenant", sa.String(40), primary_key=True),
        sa.Column("calendar", sa.String(200), primary_key=True),
        sa.Column("starts_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("call_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("email", sa.String(300)),
        sa.Column("phone", sa.String(40)),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
    )
    op.create_table(
        "do_not_call",
        sa.Column("tenant", sa.String(40), primary_key=True),
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("scope", sa.String(120), primary_key=True),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("call_id", sa.String(40)),
        sa.Column("reason", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them. Who must not be called is then unknown: nothing may be dialed."""
    for table in ("do_not_call", "appointments"):
        op.drop_table(table)
