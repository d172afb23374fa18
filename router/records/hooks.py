"""Hooks: whom to tell, of what, and what has become of each notice.

A hook's secret is kept sealed, since every notice is signed with it; it is shown when it is made
and in no list.
"""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
import structlog

from router.db import Store
from router.errors import HookRefused, SealBroken, StoreUnavailable
from router.principals import DEFAULT_TENANT
from router.records import outbox
from router.records.notices import EventType, Happened, NoticeState, announce, hooks, notices
from router.records.pages import Page, page_of
from router.seals import Seal
from router.signatures import SECRET_BYTES, new_secret

log = structlog.get_logger(__name__)

MAX_HOOKS: Final = 20  # of a tenant
OLD_SECRET_S: Final = 24 * 3600.0  # how long the old secret signs too after a change
DISABLE_AFTER_S: Final = 3 * 24 * 3600.0  # of failure without one success
_LETTERS: Final = "bcdfghjkmnpqrstvwxz"  # no digits: an id is never taken for a number
REPLAY_AT_ONCE: Final = 500  # rows of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Somebody's address. Times are Unix seconds."""

    id: str
    tenant: str
    url: str = field(repr=False)  # it may hold a token of theirs
    events: tuple[EventType, ...]
    note: str
    created_at: float
    failing_since: float | None
    disabled_at: float | None
    disabled_because: str | None  # operator, failing or gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event for one hook, without its body."""

    id: int
    hook_id: str
    event_id: str
    type: str
    call_id: str | None
    created_at: float
    state: NoticeState
    due_at: float
    tries: int
    tried_at: float | None
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A notice that is this sender's to send."""

    id: int
    tries: int  # this one counted
    event_id: str
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Where the notices of one hook go, and what signs them: nothing, if it cannot be read."""

    hook_id: str
    tenant: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How one try to send a notice ended. *again_at* None: it is not tried again by itself."""

    due: Due
    status: int | None
    error: str | None  # None: delivered
    again_at: float | None


_HOOK: Final = tuple(hooks.c[name] for name in Hook.__slots__)
_NOTICE: Final = tuple(notices.c[name] for name in Notice.__slots__)


class Hooks:
    """All hooks and notices of one database. *clock* gives Unix seconds; *seal* hides secrets."""

    def __init__(self, store: Store, *, clock: Callable[[], float], seal: Seal) -> None:
        self._store = store
        self._clock = clock
        self._seal = seal

    # ---- who is told ----

    async def add(
        self, url: str, events: Sequence[EventType], *, note: str = "", tenant: str = DEFAULT_TENANT
    ) -> tuple[Hook, str]:
        """Add a hook; return it and its secret.

        Raises:
            HookRefused: the tenant has as many as it may have.
            StoreUnavailable: the database did not answer.
        """
        secret = _secret()
        hook_id = "".join(secrets.choice(_LETTERS) for _ in range(12))
        row = {
            "id": hook_id,
            "tenant": tenant,
            "url": url,
            "events": " ".join(dict.fromkeys(events)),
            "note": note[:200],
            "secret": self._seal.close(secret, hook_id),
            "created_at": self._clock(),
        }
        of_tenant = sa.select(sa.func.count()).select_from(hooks).where(hooks.c.tenant == tenant)

        def insert(connection: sa.Connection) -> None:
            if connection.execute(of_tenant).scalar_one() >= MAX_HOOKS:
                raise HookRefused("too_many", fix=f"a tenant has {MAX_HOOKS} at most; remove one")
            connection.execute(sa.insert(hooks), row)

        await self._store.write(insert)
        blank = dict.fromkeys(("failing_since", "disabled_at", "disabled_because"))
        return _hook({**row, **blank}), secret

    async def all(self, tenant: str) -> list[Hook]:
        """Return the hooks of a tenant, oldest first."""
        select = sa.select(*_HOOK).where(hooks.c.tenant == tenant).order_by(hooks.c.created_at)
        rows = await self._store.read(lambda c: c.execute(select).mappings().all())
        return [_hook(row) for row in rows]

    async def change(
        self,
        hook_id: str,
        tenant: str,
        *,
        disabled: bool | None = None,
        events: Sequence[EventType] | None = None,
        url: str | None = None,
        note: str | None = None,
    ) -> bool:
        """Change what is given; False: there is no such hook."""
        values: dict[str, Any] = {"id": hook_id}
        if disabled is not None:
            values |= {
                "disabled_at": self._clock() if disabled else None,
                "disabled_because": "operator" if disabled else None,
                "failing_since": None,
            }
        if events is not None:
            values["events"] = " ".join(dict.fromkeys(events))
        if url is not None:
            values["url"] = url
        if note is not None:
            values["note"] = note[:200]
        update = sa.update(hooks).where(*_is(hook_id, tenant)).values(values)
        return bool(await self._store.write(lambda c: c.execute(update).rowcount))

    async def rotate(self, hook_id: str, tenant: str) -> str | None:
        """Give a hook a new secret and return it; the old one signs too for a day.

        None: there is no such hook.
        """
        secret = _secret()
        values = {
            "old_secret": hooks.c.secret,
            "old_until": self._clock() + OLD_SECRET_S,
            "secret": self._seal.close(secret, hook_id),
        }
        update = sa.update(hooks).where(*_is(hook_id, tenant)).values(values)
        return secret if await self._store.write(lambda c: c.execute(update).rowcount) else None

    async def remove(self, hook_id: str, tenant: str) -> bool:
        """Remove a hook with all of its notices; False: there is no such hook."""

        def remove(connection: sa.Connection) -> bool:
            if not connection.execute(sa.delete(hooks).where(*_is(hook_id, tenant))).rowcount:
                return False
            connection.execute(sa.delete(notices).where(notices.c.hook_id == hook_id))
            return True

        return await self._store.write(remove)

    # ---- what they are told ----

    def alert(
        self, action: str, because: str, call_id: str | None, tenant: str = DEFAULT_TENANT
    ) -> None:
        """Announce, soon, that something needs somebody's attention; never raises."""
        now = self._clock()
        happened = _alert(action, because, call_id, tenant=tenant, at=now)
        self._store.write_soon(lambda connection: announce(connection, [happened], now), _not_told)

    async def notices(
        self,
        tenant: str,
        *,
        hook_id: str | None = None,
        state: str | None = None,
        event: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Notice]:
        """Return notices, the latest first; raises BadCursor."""
        select = sa.select(*_NOTICE).where(notices.c.tenant == tenant)
        for column, value in ((notices.c.hook_id, hook_id), (notices.c.state, state)):
            if value is not None:
                select = select.where(column == value)
        if event is not None:
            select = select.where(notices.c.type == event)
        found = await page_of(self._store, select, (notices.c.id,), cursor, limit)
        return Page(tuple(Notice(**row) for row in found.rows), found.next)

    async def last_error(self, hook_id: str, tenant: str) -> str | None:
        """Return why a hook did not take the latest notice that it did not take; None: it did."""
        own = notices.c
        failed = (own.tenant == tenant) & (own.hook_id == hook_id) & own.error.is_not(None)
        select = sa.select(own.error).where(failed).order_by(own.id.desc()).limit(1)
        return await self._store.read(lambda c: c.scalar(select))

    async def replay(self, notice_id: int, tenant: str) -> bool:
        """Have one notice sent once more, under the same id; False: there is no such notice."""
        which = (notices.c.id == notice_id) & (notices.c.tenant == tenant)
        return bool(await self._store.write(lambda c: self._replay(c, which)))

    async def replay_range(
        self,
        hook_id: str,
        tenant: str,
        *,
        since: float,
        until: float,
        delivered_too: bool = False,
    ) -> int:
        """Have the notices of a time (*until* excluded) sent once more; return how many.

        Those that were delivered are left alone unless *delivered_too*.
        """
        own = notices.c
        states = ["given_up", *(["delivered"] if delivered_too else [])]
        of_range = (own.hook_id == hook_id) & (own.tenant == tenant) & own.state.in_(states)
        of_range &= (own.created_at >= since) & (own.created_at < until)
        again = 0
        while True:
            some = sa.select(own.id).where(of_range).order_by(own.id).limit(REPLAY_AT_ONCE)
            done = await self._store.write(
                lambda c, some=some: self._replay(c, own.id.in_(some.scalar_subquery()))  # type: ignore[misc] # mypy cannot infer a lambda with a default
            )
            again += done
            if done < REPLAY_AT_ONCE:
                return again

    def _replay(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
        values = {"state": "waiting", "due_at": self._clock(), "tries": 0}
        return connection.execute(sa.update(notices).where(which).values(values)).rowcount

    # ---- for the sender ----

    async def seal_anew(self) -> None:
        """Seal with today's key what was sealed with another that we have, or never.

        Raises StoreUnavailable.
        """

        def renew(connection: sa.Connection) -> None:
            kept = sa.select(hooks.c.id, hooks.c.secret, hooks.c.old_secret)
            for row in connection.execute(kept).all():
                values = {
                    name: self._renewed(text, row.id)
                    for name, text in (("secret", row.secret), ("old_secret", row.old_secret))
                }
                if values != {"secret": row.secret, "old_secret": row.old_secret}:
                    own = (hooks.c.id == row.id) & (hooks.c.secret == row.secret)
                    connection.execute(sa.update(hooks).where(own).values(values))

        await self._store.write(renew)

    async def recipients(self) -> list[Recipient]:
        """Return the hooks for which something is due; raises StoreUnavailable."""
        now = self._clock()
        due = sa.exists().where(
            notices.c.hook_id == hooks.c.id, notices.c.state == "waiting", notices.c.due_at <= now
        )
        select = sa.select(hooks).where(hooks.c.disabled_at.is_(None), due)
        rows = await self._store.read(lambda c: c.execute(select).all())
        return [self._recipient(row, now) for row in rows]

    async def claim(self, hook_id: str, *, most: int, for_s: float) -> list[Due]:
        """Take up to *most* due notices of a hook for *for_s* seconds.

        Nobody else takes them until then, or until ``settle``. Who dies in between leaves them to
        be sent again, under the same ids. Raises StoreUnavailable.
        """
        now, own = self._clock(), notices.c
        due = (
            sa.select(own.id)
            .where(own.hook_id == hook_id, own.state == "waiting", own.due_at <= now)
            .order_by(own.due_at, own.id)
            .limit(most)
            .with_for_update(skip_locked=True)  # SQLite has one writer, and does without
        )
        values = {"due_at": now + for_s, "tries": own.tries + 1, "tried_at": now}

        def claim(connection: sa.Connection) -> list[Due]:
            ids = connection.scalars(due).all()
            if not ids:
                return []
            taken = (
                sa.update(notices)
                .where(own.id.in_(ids))
                .values(values)
                .returning(own.id, own.tries, own.event_id, own.body)
            )
            rows = connection.execute(taken).mappings().all()
            return sorted((Due(**row) for row in rows), key=lambda one: one.id)

        return await self._store.write(claim)

    async def settle(self, to: Recipient, tried: Sequence[Tried], *, gone: bool = False) -> bool:
        """Write down how tries of one hook ended; *gone*: it wants to hear no more.

        True: the hook was disabled by this. Raises StoreUnavailable.
        """
        now = self._clock()
        some_delivered = any(one.error is None for one in tried)

        def settle(connection: sa.Connection) -> bool:
            for one in tried:
                mine = (notices.c.id == one.due.id) & (notices.c.tries == one.due.tries)
                connection.execute(sa.update(notices).where(mine).values(_settled(one)))
            if some_delivered:
                well = sa.update(hooks).where(
                    hooks.c.id == to.hook_id, hooks.c.failing_since.is_not(None)
                )
                connection.execute(well.values(failing_since=None))
                return False
            return self._note_failure(connection, to, now, gone=gone)

        return await self._store.write(settle)

    def _renewed(self, kept: str | None, hook_id: str) -> str | None:
        try:
            return None if kept is None else self._seal.renewed(kept, hook_id)
        except SealBroken:  # its key may come back
            return kept

    def _recipient(self, row: sa.Row[Any], now: float) -> Recipient:
        both = row.old_secret is not None and (row.old_until or 0.0) > now
        signing = []
        for sealed in (row.secret, row.old_secret) if both else (row.secret,):
            with contextlib.suppress(SealBroken):
                signing.append(self._seal.open(sealed, row.id))
        return Recipient(hook_id=row.id, tenant=row.tenant, url=row.url, secrets=tuple(signing))

    @staticmethod
    def _note_failure(connection: sa.Connection, to: Recipient, now: float, *, gone: bool) -> bool:
        own = (hooks.c.id == to.hook_id) & hooks.c.disabled_at.is_(None)
        since = sa.func.coalesce(hooks.c.failing_since, now)
        connection.execute(sa.update(hooks).where(own).values(failing_since=since))
        too_long = sa.true() if gone else hooks.c.failing_since <= now - DISABLE_AFTER_S
        because = "gone" if gone else "failing"
        off = sa.update(hooks).where(own, too_long)
        if not connection.execute(off.values(disabled_at=now, disabled_because=because)).rowcount:
            return False
        said = "a hook has said that it is gone" if gone else "a hook has failed for days"
        happened = _alert("hook_disabled", said, None, tenant=to.tenant, at=now)
        announce(connection, [happened], now)
        alert = outbox.Notice.of("alert", now, to.tenant, action="hook_disabled")
        outbox.note(connection, [alert])
        return True


def _settled(one: Tried) -> dict[str, Any]:
    values: dict[str, Any] = {"status": one.status, "error": one.error}
    if one.error is None:
        return values | {"state": "delivered"}
    if one.again_at is None:
        return values | {"state": "given_up"}
    return values | {"due_at": one.again_at}


def _alert(action: str, because: str, call_id: str | None, *, tenant: str, at: float) -> Happened:
    return Happened(
        type="alert.raised",
        tenant=tenant,
        key=uuid4().hex,
        at=at,
        data={"action": action, "because": because, "call_id": call_id},
        call_id=call_id,
    )


def _is(hook_id: str, tenant: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (hooks.c.id == hook_id, hooks.c.tenant == tenant)


def _secret() -> str:
    return new_secret(secrets.token_bytes(SECRET_BYTES))


def _hook(row: Any) -> Hook:
    values = {name: row[name] for name in Hook.__slots__}
    return Hook(**values | {"events": tuple(row["events"].split())})


def _not_told(error: StoreUnavailable) -> None:
    log.error("alert.not_announced", reason=error.reason)
