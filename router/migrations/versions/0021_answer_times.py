"""How long it took to answer a delivery of a caller, in the journal.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and an index of the few rows that have it."""
    op.add_column("journal", sa.Column("answer_ms", sa.Float))
    answered = sa.text("answer_ms IS NOT NULL")
    op.create_index(
        "journal_answered",
        "journal",
        ["tenant", "received_at", "answer_ms"],
        sqlite_where=answered,
        postgresql_where=answered,
    )


def downgrade() -> None:
    """Remove both."""
    op.drop_index("journal_answered")
    op.drop_column("journal", "answer_ms")
