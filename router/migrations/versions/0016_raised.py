"""What the watch did, by time: the few entries of the journal that no delivery told.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    by_watch = sa.text("status = 0")
    op.create_index(
        "journal_by_watch",
        "journal",
        ["tenant", "received_at"],
        sqlite_where=by_watch,
        postgresql_where=by_watch,
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_index("journal_by_watch")
