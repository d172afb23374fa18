"""The runs of campaigns: which leads are next, and the claim of each, in one transaction.

A lead is taken from the list and given its attempt, its refusal or its waiting time in the same
transaction, so that a router that dies leaves none out and takes none twice. The campaign's row is
locked meanwhile: whoever else takes leads of it, in this process or another, waits. What may not be
more over all campaigns is held by one more lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.campaigns.model import Campaign, Retry
from router.campaigns.pacing import outbound_room, taken
from router.campaigns.progress import SETTLED, Mode, Run, RunState, Wish, after
from router.db import Store, metadata
from router.errors import RunRefused
from router.records.attempts import Attempt, Attempts, Order, Refused, call_attempt, change_in
from router.records.breakers import Breakers, names_of
from router.records.claims import claims
from router.records.leads import LeadList, StoredLead, leads, stored_lead
from router.records.outbox import Notice, note

DIALER_LOCK: Final = 7462736  # any number, as long as every router takes the same
AGAIN_S: Final = 30.0  # for a lead whose number is being called at this moment
LONGEST_PAUSE_S: Final = 100.0  # between two calls, at the slowest pace
MAX_REFUSED_AT_ONCE: Final = 5  # in one transaction: a ringing call needs the database too
#: Refusals that may be another answer later: the lead waits.
PASSING: Final = frozenset({"being_called", "outside_hours"})
#: Refusals that are not about the lead: the run pauses, and the lead is the next one after that.
OF_CAMPAIGN: Final = frozenset({"over_budget", "campaign_archived", "not_known"})
_ENDED: Final = sa.literal("ended", literal_execute=True)  # as the index of claims has it

campaign_runs = sa.Table(
    "campaign_runs",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("campaign", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(32), nullable=False),
    sa.Column("list_id", sa.String(16), nullable=False),
    sa.Column("list_name", sa.String(100), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("mode", sa.String(8), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("leads", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("started_by", sa.String(200), nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("because", sa.Text, nullable=False),
)
run_waits = sa.Table(
    "run_waits",
    metadata,
    sa.Column("run_id", sa.String(32), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("because", sa.String(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many calls there may be at once, over all campaigns and routers."""

    calls: int
    reserved: int  # of them, for callers


@dataclass(frozen=True, slots=True)
class Taken:
    """A lead was taken, and this is its attempt."""

    attempt: Attempt
    order: Order
    next_at: float  # Unix seconds: not before is the next one taken


@dataclass(frozen=True, slots=True)
class Nothing:
    """No lead was taken; *again_at* (Unix seconds) says when it is worth asking, if that is known.

    *because*: ``not_running``, ``pace``, ``full``, ``no_room``, ``tripped`` (too many calls have
    failed), ``waiting``, ``refused`` (go on at once: there are more leads) or ``exhausted`` (the
    run is over).
    """

    because: str
    again_at: float | None = None


Next: TypeAlias = Taken | Nothing
#: Makes an order of a lead, for the how-manieth try.
OrderOf: TypeAlias = Callable[[StoredLead, Run, int], Order]


@dataclass(frozen=True, slots=True)
class _Ask:
    order_of: OrderOf
    brake: float


class Runs:
    """All runs in one database. *clock* gives Unix seconds."""

    def __init__(
        self,
        store: Store,
        attempts: Attempts,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        capacity: Capacity,
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._clock = clock
        self._new_id = new_id
        self._capacity = capacity
        self._breakers = Breakers(is_sqlite=store.is_sqlite)
        dialect = sqlite if store.is_sqlite else postgresql
        self._wait = self._upsert(dialect.insert(run_waits), run_waits)
        self._begin = self._upsert(dialect.insert(campaign_runs), campaign_runs)

    # ---- wishes ----

    async def start(
        self,
        tenant: str,
        campaign: str,
        found: LeadList,
        *,
        mode: Mode,
        position: int,
        by: str,
        at: float = 0.0,
    ) -> Run:
        """Begin a run of *campaign* with the lead behind *position*, and not before *at*.

        Raises:
            RunRefused: ``not_idle``.
        """
        now = self._clock()
        row = {
            "tenant": tenant,
            "campaign": campaign,
            "run_id": self._new_id(),
            "list_id": found.id,
            "list_name": found.name,
            "state": "running",
            "mode": mode,
            "position": position,
            "leads": found.leads,
            "next_at": at,
            "started_at": now,
            "started_by": by[:200],
            "changed_at": now,
            "because": "",
        }

        def start(connection: sa.Connection) -> bool:
            before = self._locked(connection, tenant, campaign)
            if before is not None and after(before.state, "start") is None:
                return False
            if before is not None:  # the pace of the run before still counts
                row["next_at"] = max(at, min(before.next_at, now + LONGEST_PAUSE_S))
            connection.execute(self._begin, row)
            self._tell(connection, row)
            return True

        if not await self._store.write(start):
            raise RunRefused("not_idle", fix="it runs already; pause, resume or stop it")
        return Run(**row)  # type: ignore[arg-type]  # a row has the columns of a run

    async def wish(self, tenant: str, campaign: str, wish: Wish, because: str) -> Run | None:
        """Change a run's state; None: the campaign has never run.

        Raises:
            RunRefused: ``not_possible``: not from this state.
        """

        def change(connection: sa.Connection) -> Run | RunRefused | None:
            run = self._locked(connection, tenant, campaign)
            if run is None:
                return None
            state = after(run.state, wish)
            if state is None:
                return RunRefused("not_possible", fix=f"it is {run.state}")
            if state != run.state:
                self._set(connection, run, state=state, because=because)
            self._settle(connection, run.tenant, run.campaign)
            return self._locked(connection, tenant, campaign)

        changed = await self._store.write(change)
        if isinstance(changed, RunRefused):
            raise changed
        return changed

    async def settle(self) -> None:
        """Let every run whose last call is over go into the state that it waits for."""

        def settle(connection: sa.Connection) -> None:
            query = sa.select(campaign_runs.c.tenant, campaign_runs.c.campaign)
            waiting = connection.execute(query.where(campaign_runs.c.state.in_(SETTLED))).all()
            for row in waiting:
                self._settle(connection, row.tenant, row.campaign)

        await self._store.write(settle)

    # ---- the next lead ----

    async def next(self, tenant: str, key: str, order_of: OrderOf, *, brake: float = 1.0) -> Next:
        """Take the next lead of a run and claim it; *order_of* makes an order of a lead.

        *brake* is the part of the pace that is left. Raises StoreUnavailable.
        """
        ask = _Ask(order_of, brake)
        return await self._store.write(lambda c: self._next(c, tenant, key, ask))

    def _next(self, connection: sa.Connection, tenant: str, key: str, ask: "_Ask") -> Next:
        if not self._store.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(DIALER_LOCK)))
        now = self._clock()
        for _ in range(MAX_REFUSED_AT_ONCE):
            run = self._locked(connection, tenant, key)
            if run is None or run.state != "running":
                return Nothing("not_running")
            if run.next_at > now:
                return Nothing("pace", run.next_at)
            answer = self._take(connection, run, ask, now)
            if answer is not None:
                return answer
        return Nothing("refused", now)

    def _take(self, connection: sa.Connection, run: Run, ask: "_Ask", now: float) -> Next | None:
        """Take one lead; None: it is not called, and the next may be."""
        found, tries = self._pick(connection, run, now)
        if found is None:
            return self._end_of_list(connection, run)
        order = ask.order_of(found, run, tries)
        campaign = order.campaign
        if self._open(connection, run) >= (campaign.concurrency if run.mode == "all" else 1):
            return Nothing("full")
        if not self._has_room(connection):
            return Nothing("no_room")
        leave = self._breakers.ask(connection, order, now)
        if not leave.given:
            return Nothing("tripped", leave.again_at)
        answer = self._attempts.claim_in(connection, order)
        if isinstance(answer, Refused):
            self._refused(connection, run, order, answer, now)
            return None
        self._breakers.begun(connection, leave, answer.attempt_id)
        self._move(connection, run, found.position)
        next_at = taken(run.next_at, now, campaign.calls_per_second, ask.brake)
        self._set(connection, run, next_at=next_at)
        if run.mode == "one":
            self._set(connection, run, state="stopping", because="one lead was called")
        return Taken(answer, order, next_at)

    def _refused(
        self, connection: sa.Connection, run: Run, order: Order, refused: Refused, now: float
    ) -> None:
        """Pass over a lead, have it wait, or pause when it is not about the lead."""
        if refused.because in OF_CAMPAIGN:
            self._set(connection, run, state="pausing", because=refused.because)
            self._settle(connection, run.tenant, run.campaign)
            return
        self._move(connection, run, order.position or 0)
        if refused.because in PASSING:
            row: Mapping[str, Any] = {
                "run_id": run.run_id,
                "position": order.position,
                "due_at": refused.next_at or now + AGAIN_S,
                "tries": order.tries - 1,
                "because": refused.because,
            }
            connection.execute(self._wait, row)
            self._tell(connection, asdict(run))
        if run.mode == "one":
            self._set(connection, run, state="stopping", because=refused.because)
            self._settle(connection, run.tenant, run.campaign)

    async def conclude(self, attempt: Attempt, retry: Retry | None) -> bool:
        """Have the lead of a call that is over called again, if *retry* says so and it is not late.

        False: somebody else has done it.
        """
        return await self._store.write(lambda c: self._conclude(c, attempt, retry))

    async def give_back(self, attempt: Attempt) -> bool:
        """Close an attempt of which nothing was sent, and have its lead be called as if new."""

        def give_back(connection: sa.Connection) -> bool:
            at = self._clock()
            row = call_attempt.c
            unsent = (row.attempt_id == attempt.attempt_id) & (row.state == "claimed")
            update = sa.update(call_attempt).where(unsent, row.ended_at.is_(None))
            values = {"state": "canceled", "disposition": "canceled", "settled": True}
            update = update.values(ended_at=at, because="it was never sent", **values)
            if not change_in(connection, update, at):
                return False
            self._again(connection, attempt, due_at=at, tries=attempt.tries - 1, because="not_sent")
            self._breakers.ended(connection, attempt, "canceled", at)
            return True

        return await self._store.write(give_back)

    # ---- questions ----

    async def find(self, tenant: str, campaign: str) -> Run | None:
        """Find the latest run of a campaign; None: it has never run."""
        query = sa.select(campaign_runs).where(
            campaign_runs.c.tenant == tenant, campaign_runs.c.campaign == campaign
        )
        row = await self._store.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else Run(**row)

    async def list(self, *states: RunState, tenant: str | None = None) -> Sequence[Run]:
        """List runs in one of *states*, or all of them."""
        query = sa.select(campaign_runs).order_by(campaign_runs.c.started_at)
        if states:
            query = query.where(campaign_runs.c.state.in_(states))
        if tenant is not None:
            query = query.where(campaign_runs.c.tenant == tenant)
        rows = await self._store.read(lambda c: c.execute(query).mappings().all())
        return [Run(**row) for row in rows]

    async def tripped(self, tenant: str, campaign: str, trunk: str) -> Sequence[str]:
        """Name the breakers that keep a campaign from calling over a trunk."""
        names, now = names_of(tenant, campaign, trunk), self._clock()
        return await self._store.read(lambda c: self._breakers.tripped(c, names, now))

    async def waiting(self, run_id: str) -> tuple[int, float | None]:
        """Count the leads of a run that wait, and say when the first is due."""
        query = sa.select(sa.func.count(), sa.func.min(run_waits.c.due_at))
        query = query.where(run_waits.c.run_id == run_id)
        row = await self._store.read(lambda c: c.execute(query).one())
        return int(row[0]), row[1]

    # ---- in a transaction ----

    def _locked(self, connection: sa.Connection, tenant: str, campaign: str) -> Run | None:
        query = (
            sa.select(campaign_runs)
            .where(campaign_runs.c.tenant == tenant, campaign_runs.c.campaign == campaign)
            .with_for_update()
        )
        row = connection.execute(query).mappings().first()
        return None if row is None else Run(**row)

    def _set(self, connection: sa.Connection, run: Run, **values: Any) -> None:
        if "state" in values:
            values["changed_at"] = self._clock()
        same = (campaign_runs.c.tenant == run.tenant) & (campaign_runs.c.campaign == run.campaign)
        connection.execute(sa.update(campaign_runs).where(same).values(**values))
        if "state" in values:
            self._tell(connection, asdict(run) | values)

    def _tell(self, connection: sa.Connection, run: Mapping[str, Any]) -> None:
        """Tell those who watch that *run* is another one."""
        body = {"campaign": run["campaign"], "state": run["state"]}
        note(connection, [Notice.of("run.changed", self._clock(), run["tenant"], **body)])

    def _settle(self, connection: sa.Connection, tenant: str, campaign: str) -> None:
        run = self._locked(connection, tenant, campaign)
        if run is None or run.state not in SETTLED or self._open(connection, run):
            return
        self._set(connection, run, state=SETTLED[run.state])
        if SETTLED[run.state] == "idle":
            gone = sa.delete(run_waits).where(run_waits.c.run_id == run.run_id)
            connection.execute(gone)

    def _conclude(self, connection: sa.Connection, attempt: Attempt, retry: Retry | None) -> bool:
        row = call_attempt.c
        mine = (row.attempt_id == attempt.attempt_id) & ~row.settled & row.ended_at.is_not(None)
        update = sa.update(call_attempt).where(mine).values(settled=True)
        if connection.execute(update).rowcount != 1:
            return False
        if retry is not None and attempt.tries <= retry.times:
            due_at = self._clock() + retry.after_s
            self._again(
                connection, attempt, due_at=due_at, tries=attempt.tries, because=attempt.state
            )
        self._breakers.ended(connection, attempt, attempt.state, self._clock())
        return True

    def _again(
        self,
        connection: sa.Connection,
        attempt: Attempt,
        *,
        due_at: float,
        tries: int,
        because: str,
    ) -> None:
        """Have the lead of *attempt* wait for another call, if its run goes on."""
        run = self._locked(connection, attempt.tenant, attempt.campaign)
        if run is None or run.run_id != attempt.run_id or run.state in {"idle", "stopping"}:
            return
        row: Mapping[str, Any] = {
            "run_id": attempt.run_id,
            "position": attempt.position,
            "due_at": due_at,
            "tries": tries,
            "because": because,
        }
        connection.execute(self._wait, row)
        self._tell(connection, asdict(run))

    def _open(self, connection: sa.Connection, run: Run) -> int:
        query = sa.select(sa.func.count()).select_from(call_attempt)
        query = query.where(
            call_attempt.c.tenant == run.tenant,
            call_attempt.c.campaign == run.campaign,
            call_attempt.c.ended_at.is_(None),
        )
        return connection.execute(query).scalar_one()

    def _has_room(self, connection: sa.Connection) -> bool:
        going = sa.select(sa.func.count()).select_from(call_attempt)
        outbound = connection.execute(going.where(call_attempt.c.ended_at.is_(None))).scalar_one()
        called = sa.select(sa.func.count()).select_from(claims).where(claims.c.state != _ENDED)
        inbound = connection.execute(called).scalar_one()
        return outbound < outbound_room(self._capacity.calls, self._capacity.reserved, inbound)

    def _pick(
        self, connection: sa.Connection, run: Run, now: float
    ) -> tuple[StoredLead | None, int]:
        """Give the lead that is next, and the how-manieth try it will be."""
        due = (
            sa.select(run_waits)
            .where(run_waits.c.run_id == run.run_id, run_waits.c.due_at <= now)
            .order_by(run_waits.c.due_at)
            .limit(1)
        )
        waited = connection.execute(due).first()
        of_list = leads.c.list_id == run.list_id
        if waited is not None:
            query = sa.select(leads).where(of_list, leads.c.position == waited.position)
        else:
            query = sa.select(leads).where(of_list, leads.c.position > run.position)
            query = query.order_by(leads.c.position).limit(1)
        row = connection.execute(query).mappings().first()
        if row is None and waited is not None:  # the list was deleted meanwhile
            self._move(connection, run, waited.position)
            return None, 0
        return (
            (None, 0)
            if row is None
            else (stored_lead(dict(row)), waited.tries + 1 if waited is not None else 1)
        )

    def _move(self, connection: sa.Connection, run: Run, position: int) -> None:
        """Say that the lead at *position* has been taken."""
        gone = (run_waits.c.run_id == run.run_id) & (run_waits.c.position == position)
        connection.execute(sa.delete(run_waits).where(gone))
        same = (campaign_runs.c.tenant == run.tenant) & (campaign_runs.c.campaign == run.campaign)
        ahead = same & (campaign_runs.c.position < position)
        connection.execute(sa.update(campaign_runs).where(ahead).values(position=position))

    def _end_of_list(self, connection: sa.Connection, run: Run) -> Nothing:
        first = sa.select(sa.func.min(run_waits.c.due_at)).where(run_waits.c.run_id == run.run_id)
        due_at = connection.execute(first).scalar_one()
        if due_at is not None:
            return Nothing("waiting", due_at)
        unsettled = sa.select(call_attempt.c.attempt_id).where(
            call_attempt.c.run_id == run.run_id, ~call_attempt.c.settled
        )
        if connection.execute(unsettled.limit(1)).first() is not None:
            return Nothing("waiting")  # one of them may have to be called again
        self._set(connection, run, state="idle", because="the list is done")
        return Nothing("exhausted")

    @staticmethod
    def _upsert(insert: Any, table: sa.Table) -> Any:
        keys = [column.name for column in table.primary_key]
        others = {
            column.name: insert.excluded[column.name]
            for column in table.c
            if column.name not in keys
        }
        return insert.on_conflict_do_update(index_elements=keys, set_=others)


def retry_of(campaign: Campaign, state: str) -> Retry | None:
    """Say when a lead whose call ended in *state* is called again; None: never."""
    return next((retry for name, retry in campaign.retries.items() if name == state), None)
