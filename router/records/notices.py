"""What others are told of: one row for each event and each hook that wants to hear of it.

``announce`` writes them in the transaction of the event itself, so that there is neither an event
without its notices nor a notice of what was rolled back. A hook is an address of somebody else's.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.db import metadata
from router.principals import EVERY_TENANT

EventType: TypeAlias = Literal["call.ended", "fact.shared", "number.opted_out", "alert.raised"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
MAX_TEXT_CHARS: Final = 8_000  # of one field: a body has a few kilobytes, rarely more
NoticeState: TypeAlias = Literal["waiting", "delivered", "given_up"]

hooks = sa.Table(
    "hooks",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", sa.Text, nullable=False),  # names, with spaces between them
    sa.Column("note", sa.String(200), nullable=False),
    sa.Column("secret", sa.String(120), nullable=False),  # sealed: router/seals.py
    sa.Column("old_secret", sa.String(120)),
    sa.Column("old_until", sa.Float),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("failing_since", sa.Float),
    sa.Column("disabled_at", sa.Float),
    sa.Column("disabled_because", sa.String(16)),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("hook_id", sa.String(16), nullable=False),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("call_id", sa.String(40)),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("tried_at", sa.Float),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.String(32)),
    sa.UniqueConstraint("hook_id", "event_id", name="notices_once"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event. *key* tells it from all others of its type; *at* is Unix seconds.

    What concerns every tenant has ``EVERY_TENANT`` as its *tenant*.
    """

    type: EventType
    tenant: str
    key: str
    at: float
    data: Mapping[str, Any]
    call_id: str | None = None

    @property
    def event_id(self) -> str:
        """The id under which everybody is told of it, however often."""
        named = f"{self.type}\0{self.tenant}\0{self.key}"
        return "msg_" + hashlib.sha256(named.encode()).hexdigest()[:32]

    def body(self) -> str:
        """Return what is sent, to the byte."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        said = {name: _cut(value) for name, value in self.data.items()}
        document = {"type": self.type, "timestamp": at.replace("+00:00", "Z"), "data": said}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


_LISTENING: Final = sa.select(hooks.c.id, hooks.c.tenant, hooks.c.events).where(
    hooks.c.disabled_at.is_(None)
)
_LISTENING_OF: Final = _LISTENING.where(hooks.c.tenant.in_(sa.bindparam("tenants", expanding=True)))


def announce(connection: sa.Connection, news: Sequence[Happened], now: float) -> None:
    """Note, within the transaction in which it happened, whom to tell of *news*."""
    if not news:
        return
    tenants = {one.tenant for one in news}
    if EVERY_TENANT in tenants:
        listening = connection.execute(_LISTENING).all()
    else:
        listening = connection.execute(_LISTENING_OF, {"tenants": list(tenants)}).all()
    rows = [
        {
            "hook_id": hook.id,
            "tenant": hook.tenant,
            "event_id": happened.event_id,
            "type": happened.type,
            "call_id": happened.call_id,
            "body": happened.body(),
            "created_at": now,
            "state": "waiting",
            "due_at": now,
            "tries": 0,
        }
        for happened in news
        for hook in listening
        if happened.tenant in (hook.tenant, EVERY_TENANT) and happened.type in hook.events.split()
    ]
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(notices).on_conflict_do_nothing(), rows)


def _cut(value: Any) -> Any:
    return value[:MAX_TEXT_CHARS] if isinstance(value, str) else value
