"""How many facts each tenant has of each category, counted by the database as they come and go.

Revision ID: 0018
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_TRIGGERS: Final = ("come", "gone", "changed")
_NEW: Final = "SELECT tenant, category, 1 AS number FROM come"
_OLD: Final = "SELECT tenant, category, -1 AS number FROM gone"
_WHAT: Final = {
    "come": ("INSERT", "NEW TABLE AS come", _NEW),
    "gone": ("DELETE", "OLD TABLE AS gone", _OLD),
    "changed": ("UPDATE", "OLD TABLE AS gone NEW TABLE AS come", f"{_NEW} UNION ALL {_OLD}"),
}
#: SQLite knows triggers of rows alone; it has one writer, so one part.
_LESS: Final = """
    UPDATE fact_counts SET number = number - 1
    WHERE tenant = OLD.tenant AND category = OLD.category;
    DELETE FROM fact_counts
    WHERE tenant = OLD.tenant AND category = OLD.category AND number = 0;
"""
_MORE: Final = """
    INSERT INTO fact_counts (tenant, category, part, number)
    VALUES (NEW.tenant, NEW.category, 0, 1)
    ON CONFLICT (tenant, category, part) DO UPDATE SET number = number + 1;
"""
_OF_A_ROW: Final = {
    "come": ("INSERT", _MORE),
    "gone": ("DELETE", _LESS),
    "changed": ("UPDATE OF tenant, category", _LESS + _MORE),
}


def upgrade() -> None:
    """Create the table, count what there is, and have the database go on counting."""
    op.create_table(
        "fact_counts",
        sa.Column("tenant", sa.String(40), primary_key=True),
        sa.Column("category", sa.String(200), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:  # another replica may be writing
        op.execute("LOCK TABLE facts IN SHARE ROW EXCLUSIVE MODE")
    op.execute(
        "INSERT INTO fact_counts (tenant, category, part, number) "
        "SELECT tenant, category, 0, count(*) FROM facts GROUP BY tenant, category"
    )
    for name in _TRIGGERS:
        if is_sqlite:
            event, body = _OF_A_ROW[name]
            op.execute(f"CREATE TRIGGER facts_{name} AFTER {event} ON facts BEGIN {body} END")
        else:
            _create_on_a_server(name)


def _create_on_a_server(name: str) -> None:
    """Count for each statement, in the part of its connection: no two wait for each other.

    Of the few that share a part, each takes its rows in the same order.
    """
    event, transition, rows = _WHAT[name]
    op.execute(
        f"""
        CREATE FUNCTION count_facts_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO fact_counts AS known (tenant, category, part, number)
            SELECT tenant, category, pg_backend_pid() % 1000, sum(number) FROM ({rows}) AS told
            GROUP BY tenant, category HAVING sum(number) <> 0 ORDER BY tenant, category
            ON CONFLICT (tenant, category, part)
            DO UPDATE SET number = known.number + excluded.number;
            RETURN NULL;
        END $$
        """  # noqa: S608 - constants
    )
    op.execute(
        f"CREATE TRIGGER facts_{name} AFTER {event} ON facts REFERENCING {transition} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION count_facts_{name}()"
    )


def downgrade() -> None:
    """Drop all of it."""
    on_facts = "" if op.get_bind().dialect.name == "sqlite" else " ON facts"
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER facts_{name}{on_facts}")
        if on_facts:
            op.execute(f"DROP FUNCTION count_facts_{name}()")
    op.drop_table("fact_counts")
