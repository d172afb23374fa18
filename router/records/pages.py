"""Lists by cursor, the newest first; pages stay right while rows are added."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from router.db import Store
from router.errors import BadCursor

T = TypeVar("T")
MAX_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    rows: tuple[T, ...]
    next: str | None  # cursor of the next page; None: there is none


async def page_of(
    store: Store,
    select: sa.Select[Any],
    order: Sequence[sa.Column[Any]],
    cursor: str | None,
    limit: int,
) -> Page[sa.RowMapping]:
    """Return the rows of *select* by *order*, descending, after *cursor*.

    Raises:
        BadCursor: *cursor* is none of this list's.
        StoreUnavailable: the database did not answer.
    """
    limit = max(1, min(limit, MAX_PAGE))
    if cursor is not None:
        select = select.where(sa.tuple_(*order) < sa.tuple_(*_read_cursor(cursor, order)))
    newest = select.order_by(*(column.desc() for column in order)).limit(limit + 1)
    found = await store.read(lambda c: c.execute(newest).mappings().all())
    rows = tuple(found[:limit])
    if len(found) <= limit:
        return Page(rows, None)
    return Page(rows, _cursor([rows[-1][column.name] for column in order]))


def _cursor(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, order: Sequence[sa.Column[Any]]) -> list[Any]:
    """Read a cursor; raises BadCursor."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise BadCursor("bad_cursor") from None
    if not isinstance(values, list) or len(values) != len(order):
        raise BadCursor("bad_cursor")
    for value, column in zip(values, order, strict=True):
        if not isinstance(value, column.type.python_type) or isinstance(value, bool):
            raise BadCursor("bad_cursor")
    return values
