"""Somebody who signs in with a browser, and calls to look at."""

import re
import time
from collections.abc import Sequence

import httpx
import sqlalchemy as sa

from personas.contract import Origin
from personas.reports import (
    CallReport,
    Closed,
    Event,
    Fact,
    Opened,
    PersonaApplied,
    Problem,
    ToolCall,
    Turn,
    numbered,
)
from router.demo.deliveries import caller_attributes
from router.principals import Role
from router.records.journal import Delivered
from router.records.leads import lead_lists
from router.routing import Event as Webhook
from router.routing import Participant
from tests.router.api.rig import PASSWORD, Rig

CALLER = "+13125550123"
DIALED = "+4930901820"
ENDED = Closed(reason="the caller hung up", disposition="answered", duration_s=94.0, facts=2)


async def signed_in(rig: Rig, client: httpx.AsyncClient, role: Role) -> None:
    """Give *client* the session of a user with this role."""
    await rig.user(f"{role}@example.org", role)
    form = {"email": f"{role}@example.org", "password": PASSWORD, "next": "/"}
    answer = await client.post("/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def csrf_of(page: str) -> str:
    """Read the token out of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


def conversation(text: str | None = None) -> list[Event]:
    """Return what is told in a call; *text* stands in every field that it can."""
    return [
        PersonaApplied(
            version="sha256:" + "a1" * 32,
            origin=text or "api",
            because=text or "the persona API answered",
            name=text or "Lakeside Dental",
            language=text or "en",
        ),
        Turn(by="agent", text=text or "Lakeside Dental, this is Mia. How can I help you?"),
        Turn(by="caller", text=text or "I need an appointment, my tooth hurts since yesterday."),
        Fact(id="f1", category=text or "request", information=text or "appointment, toothache"),
        ToolCall(name=text or "find_slots", ok=True, duration_ms=412.0, detail=text or ""),
        Turn(by="agent", text=text or "I am sorry to hear that. Tomorrow at nine is free."),
        Fact(id="f2", category="qualification", information=text or "urgent"),
        Problem(what=text or "the speech recognition was slow"),
    ]


async def rung(rig: Rig, call_id: str, at: float = 0.0) -> None:
    """Have the journal tell of a call that was answered within half a second."""
    at = at or time.time()
    room = f"RM_{call_id[:8]}"
    attributes = caller_attributes(number=DIALED, caller=CALLER, call_id=f"SCL_{call_id}")
    caller = Participant(f"PA_c{call_id[:6]}", "sip_caller", "SIP", attributes, at + 0.01)
    agent = Participant(
        f"PA_a{call_id[:6]}", "agent", "AGENT", {"persona.call": call_id}, at + 0.44
    )
    journal = rig.services.journal
    rings, joins = [
        Webhook(f"EV_{who.sid}", "participant_joined", at, "call-made-up", room, who, at)
        for who in (caller, agent)
    ]
    because = "the dialed number; the persona API answered"
    journal.note(
        Delivered(
            at + 0.02,
            200,
            "dispatched",
            because,
            "answer",
            rings,
            call_id=call_id,
            attempt=1,
            origin=Origin(source="api", version="sha256:" + "a1" * 32, because=because),
            stages={"verify": 0.9, "claim": 3.8, "persona": 64.6, "dispatch": 11.2},
            answer_ms=80.62,
        )
    )
    journal.note(Delivered(at + 0.45, 200, "ignored", "an agent joined", "ignore", joins))
    assert await journal.write()


async def told(rig: Rig, call_id: str, *events: Event, at: float, text: str | None = None) -> None:
    """Have an agent report a call."""
    opened = Opened(
        room=text or "call-made-up",
        caller=text or CALLER,
        dialed_number=text or DIALED,
        direction="inbound",
        language=text or "en",
        answered_at=at + 1.2,
        trunk=text,
        sip_call_id=text,
        campaign_id=text,
        lead_id=text,
    )
    await more(rig, call_id, [opened, *events], at=at)


async def begun(rig: Rig, name: str, *, leads: int) -> None:
    """Have a replica be about to write a list of that name."""
    row = {
        "id": "0123456789abcdef",
        "tenant": "default",
        "name": name,
        "uploaded_at": time.time(),
        "ready": False,
        "active": False,
        "size": 1,
        "digest": "",
        "columns": "[]",
        "leads": leads,
        "bad": 0,
        "bad_csv": "",
    }
    await rig.services.store.write(lambda c: c.execute(sa.insert(lead_lists), row))


async def more(
    rig: Rig, call_id: str, events: Sequence[Event], *, at: float, first: int = 1
) -> None:
    """Report *events* with numbers from *first* on."""
    made = tuple(
        numbered(event, seq=seq, attempt=1, at=at + seq) for seq, event in enumerate(events, first)
    )
    await rig.services.calls.take(CallReport(call_id=call_id, events=made))
