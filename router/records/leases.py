"""Which replica does a job that one of them has to do."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)


class Lease:
    """The right to do *name*, for *for_s* seconds at a time. *clock* gives Unix seconds."""

    def __init__(
        self, store: Store, name: str, *, owner: str, for_s: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._name = name
        self._owner = owner
        self._for_s = for_s
        self._clock = clock
        dialect = sqlite if store.is_sqlite else postgresql
        insert = dialect.insert(leases)
        self._take = insert.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"owner": insert.excluded.owner, "until": insert.excluded.until},
            where=(leases.c.owner == insert.excluded.owner)
            | (leases.c.until <= sa.bindparam("at")),
        ).returning(leases.c.owner)

    async def hold(self) -> bool:
        """Take or keep the lease; False while another replica has it.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._clock()
        row = {"name": self._name, "owner": self._owner, "until": now + self._for_s, "at": now}
        taken = await self._store.write(lambda c: c.execute(self._take, row).first())
        return taken is not None

    async def give_up(self) -> None:
        """Let another replica have it at once; raises StoreUnavailable."""
        mine = (leases.c.name == self._name) & (leases.c.owner == self._owner)
        await self._store.write(lambda c: c.execute(sa.delete(leases).where(mine)))
