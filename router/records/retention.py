"""How long each kind of data is kept, and what deletes it: small transactions, the oldest first.

The journal, which has a size besides an age, and the snapshots, whose age begins anew with each
use, are kept short by their own modules.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import sqlalchemy as sa

from personas.reports import read_event
from router.records.accounts import audit
from router.records.appointments import appointments
from router.records.attempts import call_attempt
from router.records.call_tables import calls, drop_empty_counts, events, facts
from router.records.erasures import TOMBSTONE_DAYS, erased_calls
from router.records.leads import lead_lists, leads
from router.records.notices import notices
from router.records.recordings import recordings
from router.records.rung import rung
from router.records.runs import campaign_runs, run_waits

CHUNK: Final = 200  # rows, or calls with all that is known of them, in one transaction
DAY_S: Final = 86_400.0
GONE: Final = "_gone"  # of an event's kind, when its words were deleted
_WORDS: Final = {"turn": "text", "tool_call": "detail", "fact": "information"}
_UNDER_WAY: Final = ("running", "pausing", "paused", "stopping")


@dataclass(frozen=True, slots=True)
class Swept:
    """What one transaction has deleted."""

    rows: int
    reached: float | None  # go on behind this time; None: nothing that old is left


class Days(Protocol):
    """The settings."""

    @property
    def records_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def transcripts_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def facts_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def audit_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def leads_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def attempts_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def notices_days(self) -> float: ...  # noqa: D102 - as the setting says

    @property
    def appointments_days(self) -> float: ...  # noqa: D102 - as the setting says


Delete: TypeAlias = Callable[[sa.Connection, float, float], Swept]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data. ``delete(connection, behind, before)`` takes Unix seconds."""

    name: str
    setting: str | None  # None: it is as long as it has to be
    days: float
    delete: Delete


def kinds(days: Days) -> tuple[Kind, ...]:
    """Return all kinds, as the settings have them."""
    return (
        Kind("calls", "RECORDS_DAYS", days.records_days, _old_calls),
        Kind(
            "transcripts",
            "TRANSCRIPTS_DAYS",
            days.transcripts_days,
            partial(_old_words, of=("turn", "tool_call")),
        ),
        Kind("facts", "FACTS_DAYS", days.facts_days, partial(_old_words, of=("fact",))),
        Kind("fact_counts", "FACTS_DAYS", days.facts_days, _empty_counts),
        Kind("leads", "LEADS_DAYS", days.leads_days, _old_leads),
        Kind("attempts", "ATTEMPTS_DAYS", days.attempts_days, _old_attempts),
        Kind("runs", "ATTEMPTS_DAYS", days.attempts_days, _old_runs),
        Kind("notices", "NOTICES_DAYS", days.notices_days, _old_notices),
        Kind("appointments", "APPOINTMENTS_DAYS", days.appointments_days, _old_appointments),
        Kind("audit", "AUDIT_DAYS", days.audit_days, _old_deeds),
        Kind("erased_calls", None, TOMBSTONE_DAYS, _old_tombstones),
    )


def delete_calls(connection: sa.Connection, call_ids: Sequence[str]) -> None:
    """Delete calls with all that is known of them."""
    for table in (events, facts, rung, recordings, calls):
        connection.execute(sa.delete(table).where(table.c.call_id.in_(call_ids)))


def delete_words(connection: sa.Connection, call_ids: Sequence[str], of: Collection[str]) -> int:
    """Delete what was said in calls; the events stay, numbered, and are empty.

    An agent that repeats an old report changes nothing, since it knows them by their numbers.
    """
    if "fact" in of:
        connection.execute(sa.delete(facts).where(facts.c.call_id.in_(call_ids)))
        cleared = sa.update(calls).where(
            calls.c.call_id.in_(call_ids), calls.c.qualification.is_not(None)
        )
        connection.execute(cleared.values(qualification=None))
    own = events.c
    spoken = sa.select(own.call_id, own.attempt, own.seq, own.kind, own.body).where(
        own.call_id.in_(call_ids), own.kind.in_(of)
    )
    rows = [
        {
            "of_call": row.call_id,
            "of_attempt": row.attempt,
            "of_seq": row.seq,
            "new_kind": row.kind + GONE,
            "new_body": _without_words(row.body, row.kind),
        }
        for row in connection.execute(spoken)
    ]
    if rows:
        update = sa.update(events).where(
            own.call_id == sa.bindparam("of_call"),
            own.attempt == sa.bindparam("of_attempt"),
            own.seq == sa.bindparam("of_seq"),
        )
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in ("kind", "body")}
        connection.execute(update.values(values), rows)
    return len(rows)


def _without_words(body: str, kind: str) -> str:
    return read_event(body).model_copy(update={_WORDS[kind]: ""}).model_dump_json()


def _old_calls(connection: sa.Connection, _behind: float, before: float) -> Swept:
    own = calls.c
    old = sa.select(own.call_id).where(own.started_at < before, own.ended_at.is_not(None))
    found = connection.scalars(old.order_by(own.started_at).limit(CHUNK)).all()
    delete_calls(connection, found)
    return _swept(len(found))


def _old_words(
    connection: sa.Connection, behind: float, before: float, *, of: Collection[str]
) -> Swept:
    own = calls.c
    old = sa.select(own.call_id, own.started_at).where(
        own.started_at > behind, own.started_at < before, own.ended_at.is_not(None)
    )
    found = connection.execute(old.order_by(own.started_at).limit(CHUNK)).all()
    rows = delete_words(connection, [row.call_id for row in found], of)
    return Swept(rows, found[-1].started_at if len(found) == CHUNK else None)


def _old_leads(connection: sa.Connection, _behind: float, before: float) -> Swept:
    """Delete leads of old lists, a part at a time; lists that are being called are left alone."""
    own = lead_lists.c
    called = sa.select(campaign_runs.c.list_id).where(campaign_runs.c.state.in_(_UNDER_WAY))
    old = sa.select(own.id).where(own.uploaded_at < before, own.id.not_in(called))
    list_id = connection.scalar(old.order_by(own.uploaded_at).limit(1))
    if list_id is None:
        return Swept(0, None)
    connection.execute(sa.update(lead_lists).where(own.id == list_id).values(ready=False))
    of_list = sa.select(leads.c.position).where(leads.c.list_id == list_id)
    some = connection.scalars(of_list.order_by(leads.c.position).limit(CHUNK)).all()
    connection.execute(
        sa.delete(leads).where(leads.c.list_id == list_id, leads.c.position.in_(some))
    )
    if len(some) < CHUNK:
        connection.execute(sa.delete(lead_lists).where(own.id == list_id))
    return Swept(len(some), 0.0)


def _old_attempts(connection: sa.Connection, _behind: float, before: float) -> Swept:
    own = call_attempt.c
    old = sa.select(own.attempt_id).where(own.claimed_at < before, own.ended_at.is_not(None))
    found = connection.scalars(old.where(own.settled).order_by(own.claimed_at).limit(CHUNK)).all()
    connection.execute(sa.delete(call_attempt).where(own.attempt_id.in_(found)))
    return _swept(len(found))


def _old_runs(connection: sa.Connection, _behind: float, before: float) -> Swept:
    """Delete what is known of the last run of a campaign, which says who began it."""
    own = campaign_runs.c
    over = own.state.not_in(_UNDER_WAY) & (own.changed_at < before)
    run_ids = connection.scalars(sa.select(own.run_id).where(over).limit(CHUNK)).all()
    for table in (run_waits, campaign_runs):
        connection.execute(sa.delete(table).where(table.c.run_id.in_(run_ids)))
    return _swept(len(run_ids))


def _empty_counts(connection: sa.Connection, _behind: float, _before: float) -> Swept:
    return Swept(drop_empty_counts(connection), None)


def _old_tombstones(connection: sa.Connection, _behind: float, before: float) -> Swept:
    own = erased_calls.c
    old = sa.select(own.call_id).where(own.at < before).order_by(own.at).limit(CHUNK)
    found = connection.scalars(old).all()
    connection.execute(sa.delete(erased_calls).where(own.call_id.in_(found)))
    return _swept(len(found))


def _old_notices(connection: sa.Connection, _behind: float, before: float) -> Swept:
    own = notices.c
    old = sa.select(own.id).where(own.created_at < before).order_by(own.created_at).limit(CHUNK)
    found = connection.scalars(old).all()
    connection.execute(sa.delete(notices).where(own.id.in_(found)))
    return _swept(len(found))


def _old_appointments(connection: sa.Connection, _behind: float, before: float) -> Swept:
    own = appointments.c
    old = sa.select(own.id).where(own.ends_at < before).order_by(own.ends_at).limit(CHUNK)
    found = connection.scalars(old).all()
    connection.execute(sa.delete(appointments).where(own.id.in_(found)))
    return _swept(len(found))


def _old_deeds(connection: sa.Connection, _behind: float, before: float) -> Swept:
    own = audit.c
    oldest = connection.execute(sa.select(own.id, own.at).order_by(own.id).limit(CHUNK)).all()
    found = [row.id for row in oldest if row.at < before]
    connection.execute(sa.delete(audit).where(own.id.in_(found)))
    return _swept(len(found))


def _swept(rows: int) -> Swept:
    return Swept(rows, 0.0 if rows == CHUNK else None)
