"""Whoever decides about a person waits for whoever changes what is decided by.

A claim reads the do-not-call list and writes its attempt; an opt-out writes the list. PostgreSQL
would let them pass each other, each in its own snapshot, and a call would go out after the wish not
to be called was committed. So both take the same lock first, and the second sees what the first has
done. SQLite has one writer at a time, who holds the whole database from the beginning.
"""

from collections.abc import Iterable
from typing import Final
from zlib import crc32

import sqlalchemy as sa

LOCKS: Final = 256  # shared by all numbers: a list of 100,000 takes no more than these
_SPACE: Final = 7462736  # any number, as long as every replica takes the same


def lock_people(connection: sa.Connection, numbers: Iterable[str]) -> None:
    """Wait until nobody else decides about *numbers* (E.164), and keep them until the end of this.

    It belongs before the first question of a transaction that is about them. In the same order
    everywhere: nobody waits in a circle.
    """
    if connection.dialect.name == "sqlite":
        return
    for key in sorted({crc32(number.encode()) % LOCKS for number in numbers}):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SPACE, key)))


def lock_budget(connection: sa.Connection, tenant: str, campaign: str) -> None:
    """Wait until nobody else decides by what this campaign has spent; before ``lock_people``."""
    if connection.dialect.name == "sqlite":
        return
    key = LOCKS + crc32(f"{tenant}\0{campaign}".encode()) % LOCKS
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SPACE, key)))
