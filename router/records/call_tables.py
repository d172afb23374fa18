"""The tables of calls: what the router knows of each, what its agents told, and the facts.

``call_events`` is what was reported, as it came; ``calls`` and ``facts`` are made of it so that
lists are quick. An event of attempt 0 is the router's own. Triggers of the database keep
``fact_counts`` in the transactions that write and delete facts.
"""

import sqlalchemy as sa

from router.db import metadata

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("room", sa.Text),
    sa.Column("room_sid", sa.String(200)),
    sa.Column("sip_call_id", sa.String(256)),
    sa.Column("caller", sa.String(200)),
    sa.Column("dialed_number", sa.String(200)),
    sa.Column("trunk", sa.String(200)),
    sa.Column("persona_name", sa.String(200)),
    sa.Column("persona_version", sa.String(200)),
    sa.Column("persona_origin", sa.String(200)),
    sa.Column("persona_because", sa.Text),
    sa.Column("language", sa.String(200)),
    sa.Column("campaign_id", sa.String(200)),
    sa.Column("lead_id", sa.String(200)),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("answered_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("ring_ms", sa.Float),
    sa.Column("disposition", sa.String(200)),
    sa.Column("reason", sa.Text),
    sa.Column("duration_s", sa.Float),
    sa.Column("closed_by", sa.String(8)),
    sa.Column("qualification", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("facts", sa.Integer, nullable=False),
    sa.Column("tool_calls", sa.Integer, nullable=False),
    sa.Column("problems", sa.Integer, nullable=False),
    sa.Column("opened_by", sa.String(8), nullable=False),
    sa.Column("heard_at", sa.Float, nullable=False),
)

events = sa.Table(
    "call_events",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("call_id", sa.String(40), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("fact_id", sa.String(200), nullable=False),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("caller", sa.String(200)),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("category", sa.String(200), nullable=False),
    sa.Column("information", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

#: How many facts there are is the sum over the parts, of which some may be below zero.
fact_counts = sa.Table(
    "fact_counts",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("category", sa.String(200), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


def drop_empty_counts(connection: sa.Connection) -> int:
    """Forget the names of categories of which there is no fact any more; return how many rows.

    On PostgreSQL it holds up who writes facts, if there are any such names, and is to be the only
    work of its transaction.
    """
    if connection.dialect.name == "sqlite":
        return 0  # there, triggers do it
    own = fact_counts.c
    names = sa.tuple_(own.tenant, own.category)
    empty = sa.select(own.tenant, own.category).group_by(own.tenant, own.category)
    gone = empty.having(sa.func.sum(own.number) == 0)
    if connection.execute(gone.limit(1)).first() is None:
        return 0
    connection.exec_driver_sql("LOCK TABLE fact_counts IN SHARE ROW EXCLUSIVE MODE")
    return connection.execute(sa.delete(fact_counts).where(names.in_(gone))).rowcount
