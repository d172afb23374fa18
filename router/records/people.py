"""All that is kept of one person: found by their number or a lead's e-mail, given out, erased.

Numbers are kept as trunks and other backends write them, so a person is looked for in every usual
notation. The do-not-call list keeps the number, without reason and call: it is the person's own
wish, and the law's, and can be kept only by knowing whom it is about.
"""

import csv
import io
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from personas.phone import PhoneNumber
from router.db import Store
from router.errors import ErasureRefused
from router.principals import DEFAULT_TENANT
from router.records.appointments import appointments
from router.records.attempts import call_attempt
from router.records.call_tables import calls, drop_empty_counts, events, facts
from router.records.claims import claims
from router.records.consents import consents
from router.records.do_not_call import do_not_call
from router.records.erasures import erased_calls
from router.records.journal import journal
from router.records.leads import lead_lists, leads
from router.records.notices import notices
from router.records.recordings import recordings
from router.records.retention import delete_calls
from router.records.rung import rung
from router.records.snapshots import snapshots

_FEWEST_DIGITS: Final = 7


@dataclass(frozen=True, slots=True)
class Person:
    """Whom it is about; *tenant* None: in whosever records they are."""

    number: PhoneNumber | None
    email: str | None
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Traces:
    """Where the person is. Personal data: never shown or logged."""

    tenant: str | None
    numbers: tuple[str, ...]  # E.164
    forms: tuple[str, ...]  # of the numbers, as they may be written
    needles: tuple[str, ...]  # what no text may hold any more
    call_ids: tuple[str, ...]
    room_sids: tuple[str, ...]
    versions: tuple[str, ...]  # of personas that were sent to nobody else
    going_on: int  # calls and dials that are not over


class People:
    """Finds, gives out and erases. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._dialect = sqlite if store.is_sqlite else postgresql

    async def find(self, person: Person) -> Traces:
        """Return where a person is; raises StoreUnavailable."""
        return await self._store.read(lambda connection: _find(connection, person))

    async def export(self, traces: Traces) -> dict[str, list[dict[str, Any]]]:
        """Return all that is kept of a person, by kind; raises StoreUnavailable."""
        return await self._store.read(
            lambda connection: {
                kind: _rows(connection, table, which) for kind, table, which in _where(traces)
            }
        )

    async def erase(self, traces: Traces) -> dict[str, int]:
        """Delete all of it in one transaction; return how many rows of each kind.

        Reports that come later for the calls are taken and thrown away.

        Raises:
            ErasureRefused: the person is on the phone.
            StoreUnavailable: the database did not answer.
        """
        if traces.going_on:
            fix = "a call with this person goes on; try again when it is over"
            raise ErasureRefused("going_on", fix=fix)
        counts = await self._store.write(lambda c: self._erase(c, traces), patient=True)
        await self._store.write(drop_empty_counts, patient=True)
        await self._store.scrub()
        return counts

    def _erase(self, connection: sa.Connection, traces: Traces) -> dict[str, int]:
        now = self._clock()
        counts = {}
        for kind, table, which in _where(traces):
            if kind == "do_not_call":
                update = sa.update(table).where(which).values(reason="", call_id=None)
                counts[kind] = connection.execute(update).rowcount
            elif kind == "leads":
                counts[kind] = _erase_leads(connection, which, traces)
            else:
                counts[kind] = connection.execute(sa.delete(table).where(which)).rowcount
        delete_calls(connection, traces.call_ids)
        gone = sa.delete(snapshots).where(snapshots.c.version.in_(_tainted(connection, traces)))
        counts["snapshots"] = connection.execute(gone).rowcount
        if traces.call_ids:
            tombstones = [{"call_id": call_id, "at": now} for call_id in traces.call_ids]
            insert = self._dialect.insert(erased_calls).on_conflict_do_nothing()
            connection.execute(insert, tombstones)
        return counts


def forms_of(number: PhoneNumber) -> tuple[str, ...]:
    """Return a number as trunks and people write it."""
    digits, national = number.digits, number.national
    bare = national.lstrip("0") or national
    written = (f"+{digits}", digits, f"00{digits}", f"011{digits}", national, bare, f"0{bare}")
    return tuple(dict.fromkeys(written))


# ---- in the store's threads ----


def _find(connection: sa.Connection, person: Person) -> Traces:
    numbers = [person.number] if person.number else []
    if person.email:
        numbers += _numbers_of_email(connection, person)
    forms = tuple(dict.fromkeys(form for number in numbers for form in forms_of(number)))
    of_tenant = calls.c.tenant == person.tenant if person.tenant else sa.true()
    # The other side of an inbound call is the caller; who dials writes the callee into either.
    party = calls.c.caller.in_(forms) | (
        (calls.c.direction == "outbound") & calls.c.dialed_number.in_(forms)
    )
    known = (calls.c.call_id, calls.c.room_sid, calls.c.persona_version, calls.c.ended_at)
    found = connection.execute(sa.select(*known).where(of_tenant, party)).all()
    ids = {row.call_id for row in found}
    for table, column in ((facts, facts.c.caller), (rung, rung.c.number)):
        also = sa.select(table.c.call_id).where(column.in_(forms))
        if person.tenant:
            also = also.where(table.c.tenant == person.tenant)
        ids |= set(connection.scalars(also))
    versions = {row.persona_version for row in found if row.persona_version}
    others = sa.select(calls.c.persona_version).where(
        calls.c.persona_version.in_(versions), calls.c.call_id.not_in(ids)
    )
    dialing = sa.select(sa.func.count()).where(
        call_attempt.c.number.in_(forms), call_attempt.c.ended_at.is_(None)
    )
    going_on = sum(row.ended_at is None for row in found) + connection.execute(dialing).scalar_one()
    return Traces(
        tenant=person.tenant,
        numbers=tuple(number.e164 for number in numbers),
        forms=forms,
        needles=_needles(numbers, person.email),
        call_ids=tuple(sorted(ids)),
        room_sids=tuple(row.room_sid for row in found if row.room_sid),
        versions=tuple(versions - set(connection.scalars(others))),
        going_on=going_on,
    )


def _numbers_of_email(connection: sa.Connection, person: Person) -> list[PhoneNumber]:
    select = (
        sa.select(leads.c.phone)
        .join(lead_lists, lead_lists.c.id == leads.c.list_id)
        .where(sa.func.lower(leads.c.email) == (person.email or "").lower())
    )
    if person.tenant:
        select = select.where(lead_lists.c.tenant == person.tenant)
    return [PhoneNumber(phone) for phone in dict.fromkeys(connection.scalars(select))]


def _needles(numbers: Sequence[PhoneNumber], email: str | None) -> tuple[str, ...]:
    """Return the shortest texts by which the person is found within others."""
    bare = (number.national.lstrip("0") for number in numbers)
    found = [digits for digits in bare if len(digits) >= _FEWEST_DIGITS]
    return (*found, *([email.lower()] if email else ()))


def _where(traces: Traces) -> list[tuple[str, sa.Table, sa.ColumnElement[bool]]]:
    """Return each kind, its table, and which of its rows are the person's."""
    ids, forms = traces.call_ids, traces.forms

    def owned(table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.tenant == traces.tenant if traces.tenant else sa.true()

    delivered = journal.c.call_id.in_(ids) | journal.c.room_sid.in_(traces.room_sids)
    delivered |= owned(journal) & _holds(journal.c.replay, traces)  # it may have led to no call
    lists = sa.select(lead_lists.c.id).where(owned(lead_lists))
    email = sa.func.lower(leads.c.email).in_(traces.needles)
    booked = appointments.c.call_id.in_(ids) | appointments.c.phone.in_(forms)
    booked |= sa.func.lower(appointments.c.email).in_(traces.needles)
    return [
        ("calls", calls, calls.c.call_id.in_(ids)),
        ("events", events, events.c.call_id.in_(ids)),
        ("facts", facts, facts.c.call_id.in_(ids)),
        ("recordings", recordings, recordings.c.call_id.in_(ids)),
        ("dialed", rung, owned(rung) & (rung.c.call_id.in_(ids) | rung.c.number.in_(forms))),
        ("claims", claims, claims.c.call_id.in_(ids) | _holds_of(claims.c.room, traces)),
        ("deliveries", journal, delivered),
        ("attempts", call_attempt, owned(call_attempt) & call_attempt.c.number.in_(forms)),
        ("leads", leads, leads.c.list_id.in_(lists) & (leads.c.phone.in_(forms) | email)),
        ("consents", consents, owned(consents) & consents.c.number.in_(forms)),
        ("do_not_call", do_not_call, do_not_call.c.number.in_(forms) & _listed(traces)),
        ("appointments", appointments, owned(appointments) & booked),
        (
            "notices",
            notices,
            owned(notices) & (notices.c.call_id.in_(ids) | _holds(notices.c.body, traces)),
        ),
    ]


def _holds(column: sa.Column[Any], traces: Traces) -> sa.ColumnElement[bool]:
    return _any_of(column, traces.needles)


def _any_of(column: sa.Column[Any], needles: Sequence[str]) -> sa.ColumnElement[bool]:
    text = sa.func.lower(column)
    return sa.or_(sa.false(), *(text.contains(needle, autoescape=True) for needle in needles))


def _holds_of(column: sa.Column[Any], traces: Traces) -> sa.ColumnElement[bool]:
    """As ``_holds``, for claims of calls that are over: they belong to no tenant."""
    over = claims.c.state == "ended"
    return over & _holds(column, traces) if _sees_unowned(traces) else sa.false()


def _sees_unowned(traces: Traces) -> bool:
    """Whether what belongs to no tenant is the first one's, or that of who sees all of them."""
    return traces.tenant in {None, DEFAULT_TENANT}


def _listed(traces: Traces) -> sa.ColumnElement[bool]:
    return do_not_call.c.tenant == traces.tenant if traces.tenant else sa.true()


def _rows(
    connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool]
) -> list[dict[str, Any]]:
    found = connection.execute(sa.select(table).where(which)).mappings()
    return [{name: _read(name, value) for name, value in row.items()} for row in found]


def _read(name: str, value: Any) -> Any:
    """Give what was kept as JSON in its own form."""
    if name in {"body", "replay", "stages", "verdict", "variables"} and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _erase_leads(connection: sa.Connection, which: sa.ColumnElement[bool], traces: Traces) -> int:
    of_list = sa.select(leads.c.list_id, sa.func.count()).where(which).group_by(leads.c.list_id)
    for list_id, count in connection.execute(of_list).all():
        fewer = sa.update(lead_lists).where(lead_lists.c.id == list_id)
        connection.execute(fewer.values(leads=lead_lists.c.leads - count))
    emails = connection.scalars(sa.select(sa.func.lower(leads.c.email)).where(which)).all()
    needles = {*traces.needles, *filter(None, emails)}  # rows without a readable number, too
    gone = connection.execute(sa.delete(leads).where(which)).rowcount
    bad = sa.select(lead_lists.c.id, lead_lists.c.bad_csv).where(
        _any_of(lead_lists.c.bad_csv, sorted(needles))
    )
    if traces.tenant:
        bad = bad.where(lead_lists.c.tenant == traces.tenant)
    for row in connection.execute(bad).all():
        without = sa.update(lead_lists).where(lead_lists.c.id == row.id)
        connection.execute(without.values(bad_csv=_without(row.bad_csv, needles)))
    return gone


def _without(text: str, needles: Collection[str]) -> str:
    kept = io.StringIO()
    writer = csv.writer(kept, lineterminator="\n")
    for row in csv.reader(io.StringIO(text)):
        if not any(needle in cell.lower() for needle in needles for cell in row):
            writer.writerow(row)
    return kept.getvalue()


def _tainted(connection: sa.Connection, traces: Traces) -> list[str]:
    """Return the versions of personas that were the person's alone, or name them."""
    found = set(traces.versions)
    needles = [needle.encode() for needle in traces.needles]
    for row in connection.execute(sa.select(snapshots.c.version, snapshots.c.document)):
        if any(needle in _text(row.document).lower() for needle in needles):
            found.add(row.version)
    return sorted(found)


def _text(document: bytes) -> bytes:
    try:
        return zlib.decompress(document)
    except zlib.error:
        return b""
