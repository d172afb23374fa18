"""Which calls were erased: what an agent tells of them later is taken and thrown away.

Nothing but the call's own id is kept, which means nothing to anybody else.
"""

from typing import Final

import sqlalchemy as sa

from router.db import metadata

TOMBSTONE_DAYS: Final = 90.0  # longer than any agent keeps a report

erased_calls = sa.Table(
    "erased_calls",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
)


def was_erased(connection: sa.Connection, call_id: str) -> bool:
    """Whether a call was erased, of which somebody tells once more."""
    select = sa.select(erased_calls.c.call_id).where(erased_calls.c.call_id == call_id)
    return connection.execute(select).first() is not None
