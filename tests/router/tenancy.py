"""One tenant's things, each with a mark that nobody else may ever see."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from personas.model import Persona
from personas.options import Calendar
from personas.phone import parse, read_dialed
from personas.reports import CallReport, Fact, Opened, PersonaApplied, Turn, numbered
from personas.reports import Event as Made
from router.campaigns.model import read_campaign
from router.db import metadata
from router.demo.deliveries import caller_attributes
from router.principals import Principal
from router.records.appointments import appointments
from router.records.attempts import call_attempt
from router.records.entries import Which, deliveries_of
from router.records.journal import Delivered
from router.records.notices import notices
from router.records.snapshots import Snapshots
from router.routing import Event, Participant
from tests.router.api.rig import Rig

CALLER = "+13125550123"
NUMBERS = {"north": "+4930901820", "south": "+13125550188", "default": "+13125550100"}

BLOCKED = {"north": "+13125550195", "south": "+13125550196", "default": "+13125550197"}


def mark(tenant: str) -> str:
    """Return what stands in everything of *tenant*."""
    return f"canary-of-{tenant}"


async def furnish(rig: Rig, tenant: str) -> None:
    """Give *tenant* one of everything."""
    services, number, said = rig.services, NUMBERS[tenant], mark(tenant)
    await services.numbers.assign(number, tenant)
    accounts = services.access.accounts
    await accounts.add_user(f"{said}@example.org", "x", "viewer", tenant)
    await accounts.add_token(said, "viewer", by="test", tenant=tenant)
    by = Principal(who="test", tenant=tenant, role="admin")
    await accounts.note(by, "test.furnished", said)
    for blocked in (BLOCKED[tenant], f"{BLOCKED[tenant][:-2]}4{BLOCKED[tenant][-1]}"):
        await services.do_not_call.add(blocked, source="api", reason=said, tenant=tenant)
    await services.campaigns.add(tenant, read_campaign({"name": said, "module": f"{said}.py"}))
    await services.leads.add(tenant, f"{said}.csv", f"phone,name\n{CALLER},{said}\nx,y\n".encode())
    await services.leads.add(tenant, f"{said}-2.csv", f"phone\n{CALLER}\n".encode())
    await services.leads.select(tenant, f"{said}.csv")
    hook, _ = await services.hooks.add(
        f"https://127.0.0.1:9/{said}", ["number.opted_out"], tenant=tenant
    )
    attempt = _attempt(tenant)
    await services.store.write(lambda c: c.execute(sa.insert(call_attempt), attempt))
    notice = _notice(tenant, hook.id)
    await services.store.write(lambda c: c.execute(sa.insert(notices), notice))
    before, after = personas_of(tenant)
    old = PersonaApplied(version=before.version, origin="api", because="asked", name=said)
    told: tuple[Made, ...] = (
        Opened(room="call-x", caller=CALLER, dialed_number=number, direction="inbound"),
        PersonaApplied(version=after.version, origin="api", because="asked", name=said),
        Turn(by="caller", text=said),
        Fact(id="f1", category="request", information=said),
    )
    at = time.time() - 60
    made = tuple(numbered(event, seq=seq, attempt=1, at=at) for seq, event in enumerate(told, 1))
    await services.calls.take(CallReport(call_id=f"call-of-{tenant}", events=made))
    earlier = [
        numbered(event, seq=seq, attempt=1, at=at - 9) for seq, event in ((1, told[0]), (2, old))
    ]
    await services.calls.take(CallReport(call_id=f"earlier-{tenant}", events=tuple(earlier)))
    snapshots = Snapshots(services.store, clock=time.time)
    for persona in (before, after):
        await services.store.write(partial(snapshots.write, persona=persona))
    await services.store.write(lambda c: c.execute(sa.insert(appointments), _appointment(tenant)))
    _ring(rig, tenant, at)
    assert await services.journal.write()


def personas_of(tenant: str) -> tuple[Persona, Persona]:
    """Return the persona of *tenant*'s earlier call and of the later one."""
    texts = ("You were somebody else.", f"You are {mark(tenant)}.")
    before, after = (Persona.from_document({"personality": text}) for text in texts)
    return before, after


def _attempt(tenant: str) -> dict[str, Any]:
    at = time.time() - 90
    words = dict.fromkeys(("campaign_version", "trunk", "room", "identity", "owner", "because"), "")
    return words | {
        "attempt_id": f"attempt-of-{tenant}",
        "tenant": tenant,
        "campaign": mark(tenant),
        "tries": 1,
        "lead_id": "x",
        "number": CALLER,
        "state": "no_answer",
        "disposition": "no_answer",
        "verdict": "{}",
        "claimed_at": at,
        "ended_at": at,
        "note": mark(tenant),
        "settled": True,
    }


def _notice(tenant: str, hook_id: str) -> dict[str, Any]:
    return {
        "hook_id": hook_id,
        "tenant": tenant,
        "event_id": f"msg_{tenant}",
        "type": "number.opted_out",
        "call_id": mark(tenant),
        "body": "{}",
        "created_at": time.time(),
        "state": "given_up",
        "due_at": time.time() + 86_400,
        "tries": 1,
    }


def _appointment(tenant: str) -> dict[str, Any]:
    starts = int(time.time()) + 3600
    return {
        "tenant": tenant,
        "calendar": Calendar().name,
        "starts_at": starts,
        "ends_at": starts + 1800,
        "id": f"appointment-{tenant}",
        "call_id": f"call-of-{tenant}",
        "name": mark(tenant),
        "notes": "",
        "made_at": time.time(),
    }


def _ring(rig: Rig, tenant: str, at: float) -> None:
    number = NUMBERS[tenant]
    attributes = caller_attributes(number=number, caller=CALLER, call_id=f"SCL_{tenant}")
    caller = Participant(f"PA_{tenant}", "sip_caller", "SIP", attributes, at)
    agent = Participant(f"PA_a{tenant}", "agent", "AGENT", {}, at)
    assert parse(number)
    for who, dialed in ((caller, read_dialed(number, None)), (agent, None)):
        rings = Event(f"EV_{who.sid}", "participant_joined", at, "r", f"RM_{tenant}", who, at)
        rig.services.journal.note(
            Delivered(
                at,
                200,
                "dispatched" if dialed else "ignored",
                f"because of {mark(tenant)}",
                "answer" if dialed else "ignore",
                rings,
                dialed,
                f"call-of-{tenant}",
                1,
            )
        )


async def ids_of(rig: Rig, tenant: str) -> dict[str, str]:
    """Return the ids of what *tenant* has that are made up by the database."""
    services = rig.services
    found = await services.access.accounts.tokens(tenant)
    deliveries = await deliveries_of(services.store, tenant, Which())
    rows = await rows_of(rig, tenant)
    return {
        "token": next(one.id for one in found if one.name == mark(tenant)),
        "delivery": str(min(one.id for one in deliveries.rows)),
        "hook": str(rows["hooks"][0][0]),
        "notice": str(rows["notices"][0][0]),
    }


async def rows_of(rig: Rig, tenant: str) -> dict[str, Sequence[Any]]:
    """Return every row that *tenant* has, by table."""

    def read(connection: sa.Connection) -> dict[str, Sequence[Any]]:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(
                    sa.select(table).where(table.c.tenant == tenant).order_by(*table.primary_key)
                )
            ]
            for table in metadata.sorted_tables
            if "tenant" in table.c
        }

    await rig.services.store.flush()
    return await rig.services.store.read(read)
