"""Debian's chromium, and a router with a few calls that it looks at."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
import uvicorn
from playwright.async_api import Browser, BrowserContext, async_playwright

from personas.model import Persona
from router.campaigns.model import read_campaign
from router.records.attempts import call_attempt
from router.records.notices import hooks, notices
from router.records.runs import campaign_runs
from router.records.snapshots import Snapshots
from tests.absent import absent
from tests.router.api.rig import PASSWORD, Rig, open_rig
from tests.router.dashboard.rig import ENDED, conversation, rung, told

HOW = "as root on Debian: apt-get install chromium"
EMAIL = "ann@example.org"
VERDICT = {"country": "US", "zones": ["America/Chicago"], "consents": [], "listed": False}
CONSENT = "calls,2026-05-04,form"
DUPLICATE = "(312) 555-0100"
OVER, RUNNING = "0123456789abcdef0123456789abcdef", "f" * 32


@dataclass(frozen=True, slots=True)
class Site:
    """A router that serves, and where."""

    rig: Rig
    url: str

    async def sign_in(self, context: BrowserContext) -> None:
        """Sign *context* in through the form."""
        page = await context.new_page()
        await page.goto(f"{self.url}/login")
        await page.fill("#email", EMAIL)
        await page.fill("#password", PASSWORD)
        await page.press("#password", "Enter")
        await page.wait_for_selector(".tiles")
        await page.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        absent("chromium", HOW)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as site:
        yield site


async def outbound(rig: Rig) -> None:
    """Make a campaign, a list of leads with bad rows, and wishes not to be called."""
    services = rig.services
    made = {
        "name": "Spring check-ups",
        "session_text": "Hello [Prospect Name], this is the assistant of [Resource Name]. It has"
        " been a year since your last check-up. Would you like an appointment?",
        "agent_text": "You call patients of a dental practice. Be brief and friendly.",
        "personas": [{"id": "lakeside-dental", "weight": 3}, {"id": "hotel-miramar"}],
        "retries": {
            "no_answer": {"times": 2, "after_s": 3600},
            "busy": {"times": 3, "after_s": 900},
        },
    }
    await services.campaigns.add("default", read_campaign(made))
    head = (
        "prospect_name,phone,company_name,resource_name,timezone,consent,consent_at,consent_source"
    )
    rows = [
        f"{name},+1312555{100 + number:04},{company},Lakeside Dental,America/Chicago,{CONSENT}"
        for number, (name, company) in enumerate(
            product(
                ("Ruth Alder", "Ben Brook", "Ivy Cole", "Tom Dale", "Ada Elm", "Max Fenn"),
                ("Harbor Books", "Alder & Sons", "Northside Tools", "Cole Bakery", ""),
            )
        )
    ]
    bad = ["Sam Grove,4.91E+11,,,,,,", "Una Hale,12345,,,,,,", f"Ruth Alder,{DUPLICATE},,,,,,"]
    raw = "\n".join([head, *rows, *bad]).encode()
    await services.leads.add("default", "check-ups.csv", raw)
    await services.leads.select("default", "check-ups.csv")
    await services.do_not_call.add("+13125550109", source="api", reason="asked by letter")
    await services.do_not_call.add("+13125550117", source="call", reason="please never again")
    await dialed(rig)


async def dialed(rig: Rig) -> None:
    """Have a run of the campaign be half through its list."""
    services, now = rig.services, time.time()
    found = await services.leads.find("default")
    assert found is not None
    run_id = "r" * 32
    ended = dict.fromkeys((1, 2, 4, 6, 7, 9, 12, 14), ("answered", "the callee hung up"))
    ended |= dict.fromkeys((3, 8, 13), ("no_answer", "nobody picked up"))
    ended |= {5: ("busy", "SIP 486"), 11: ("voicemail", "a machine answered")}
    ended |= {10: ("refused", "do_not_call"), 15: ("failed", "SIP 503")}
    ended |= {16: ("uncertain", "LiveKit was away while the phone rang")}
    rows = []
    for stored in await services.leads.page(found, limit=len(ended)):
        state, because = ended[stored.position]
        at = now - 60 * (len(ended) + 1 - stored.position)
        is_call = state != "refused"
        rows.append(
            {
                "attempt_id": f"{stored.position:031}a",
                "tenant": "default",
                "campaign": "spring-check-ups",
                "campaign_version": "sha256:" + "c3" * 32,
                "run_id": run_id,
                "list_id": found.id,
                "position": stored.position,
                "tries": 1,
                "lead_id": f"{found.id}:{stored.position}",
                "number": stored.lead.phone,
                "trunk": "ST_made_up",
                "state": state,
                "room": f"out-{stored.position}",
                "identity": f"out-{stored.position}",
                "owner": "made up",
                "verdict": json.dumps({"allowed": is_call, "because": because, "inputs": VERDICT}),
                "claimed_at": at,
                "dialed_at": at + 0.1 if is_call else None,
                "answered_at": at + 9 if state == "answered" else None,
                "ended_at": at + 45,
                "disposition": "interested" if stored.position == 4 else state,
                "because": because,
                "hang_up": None,
                "note": "wants the prices by mail" if stored.position == 4 else "",
                "settled": True,
            }
        )
    run = {
        "tenant": "default",
        "campaign": "spring-check-ups",
        "run_id": run_id,
        "list_id": found.id,
        "list_name": found.name,
        "state": "paused",
        "mode": "all",
        "position": len(ended),
        "leads": found.leads,
        "next_at": now,
        "started_at": now - 1200,
        "started_by": EMAIL,
        "changed_at": now - 30,
        "because": "an operator paused it",
    }

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(call_attempt), rows)
        connection.execute(sa.insert(campaign_runs), run)

    await services.store.write(write)


async def listening(rig: Rig) -> None:
    """Have somebody be told of alerts, and a CRM that took nothing, by their rows alone."""
    services, now = rig.services, time.time()
    team, _ = await services.hooks.add(
        "https://chat.example.org/hooks/on-call", ["alert.raised"], note="On-call chat"
    )
    crm, _ = await services.hooks.add(
        "https://crm.example.org/hooks/calls", ["alert.raised"], note="CRM"
    )
    failing = sa.update(hooks).where(hooks.c.id == crm.id)
    ways: dict[str, dict[str, Any]] = {
        "delivered": {"status": 204, "error": None, "tries": 1},
        "given_up": {"status": 503, "error": "status_503", "tries": 11},
        "waiting": {"status": None, "error": "not_reached", "tries": 4},
    }
    rows = [
        {
            "hook_id": team.id if state == "delivered" else crm.id,
            "tenant": "default",
            "event_id": f"msg_{number}",
            "type": "alert.raised",
            "call_id": OVER,
            "body": "{}",
            "created_at": now - 600 + number,
            "state": state,
            "due_at": now + 3600,
            "tried_at": now - 30,
        }
        | ways[state]
        for number, state in enumerate(("given_up", "waiting", "delivered"))
    ]

    def write(connection: sa.Connection) -> None:
        connection.execute(failing.values(failing_since=now - 3000))
        connection.execute(sa.insert(notices), rows)

    await services.store.write(write)


async def spoken(rig: Rig) -> str:
    """Have two versions of a persona speak; return the address of what changed."""
    services, now = rig.services, time.time()
    snapshots = Snapshots(services.store, clock=time.time)
    versions = []
    for ago_s, text in ((7200, "You are brief."), (3600, "You are brief.\nYou offer a call back.")):
        persona = Persona.from_document({"persona_name": "Lakeside Dental", "personality": text})
        await services.store.write(partial(snapshots.write, persona=persona))
        spoke = conversation()[0].model_copy(update={"version": persona.version})
        await told(rig, f"spoke-{ago_s}", spoke, ENDED, at=now - ago_s)
        versions.append(persona.version)
    return f"/numbers/diff?before={quote(versions[0])}&version={quote(versions[1])}"


@asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[Site]:
    """Serve a router with two calls and an admin."""
    async with open_rig(folder) as rig:
        await rig.user(EMAIL, "admin")
        now = time.time()
        await told(rig, OVER, *conversation(), ENDED, at=now - 600)
        await rung(rig, OVER, now - 600)
        await told(rig, RUNNING, *conversation()[:3], at=now - 20)
        await outbound(rig)
        await listening(rig)
        # A test that fails leaves streams open, which would be waited for.
        config = uvicorn.Config(
            rig.app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Site(rig, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            await serving
