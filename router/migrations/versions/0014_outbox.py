"""The outbox: what happened, in order, for those who watch.

Revision ID: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the table, with a first row: from then on the oldest says what is gone."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    own = "0" if sqlite else "(pg_current_xact_id()::text)::bigint"
    op.create_table(
        "outbox",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("txid", sa.BigInteger, nullable=False, server_default=sa.text(own)),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("call_id", sa.String(40)),
        sa.Column("attempt", sa.Integer),
        sa.Column("seq", sa.Integer),
        sa.Column("body", sa.Text),
        sqlite_autoincrement=True,  # an id is never given twice
    )
    if not sqlite:
        op.create_index("outbox_in_order", "outbox", ["txid", "id"])
    op.execute("INSERT INTO outbox (at, tenant, kind) VALUES (0, '', 'outbox.began')")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("outbox")
