"""Decisions then and now, faults of the persona API, and driving a stuck call again."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from livekit.protocol.agent_dispatch import AgentDispatch
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import ListParticipantsResponse

from personas.phone import read_dialed
from personas.sources.faults import read_fault
from router.access import operator_token
from router.app import build_app
from router.db import Store
from router.demo.deliveries import body, caller_attributes
from router.events import sign
from router.metrics import Metrics
from router.records import entries
from router.records.trace import trace_of
from router.rehearsals import rehearse
from router.replay import Redrive, rehearsing, replay, trunks_of
from router.services import livekit_from, lookup_from, plan_from
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit

KEY, SECRET = "devkey", "made-up-secret-made-up-secret-32"
DID, CALLER = "8655701159", "+4930901820"
PROMPT = "You are the canary of the coal mine."
DOCUMENT = json.dumps({"personality": PROMPT, "mobile": DID}).encode()
WEBHOOK = "http://127.0.0.1/livekit-webhook"


@dataclass
class Bed:
    """A router on a database, its LiveKit, and who can reach it."""

    store_url: str
    folder: Path
    livekit: FakeLiveKit
    more: dict[str, Any] = field(default_factory=dict)

    def settings(self, **changed: Any) -> RouterSettings:
        values: dict[str, Any] = {
            "livekit_url": self.livekit.url,
            "livekit_api_key": KEY,
            "livekit_api_secret": SECRET,
            "persona_api_base": "off",
            "default_region": "US",
            "state_dir": self.folder,
            "database_url": self.store_url,
        }
        return RouterSettings.load(**values | self.more | changed)

    def client(self, app: Any, state: Any, peer: str = "127.0.0.1") -> httpx.AsyncClient:
        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, client=(peer, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def deliver(self, *contents: bytes) -> list[int]:
        """Have a router take deliveries; stop it, so that all is written."""
        app = build_app(self.settings())
        statuses = []
        async with app.router.lifespan_context(app) as state, self.client(app, state) as client:
            for content in contents:
                token = sign(content, time.time(), KEY, SECRET.encode())
                headers = {"Authorization": token}
                answer = await client.post(WEBHOOK, content=content, headers=headers)
                statuses.append(answer.status_code)
        return statuses


@pytest.fixture
async def bed(store_url: str, tmp_path: Path) -> AsyncIterator[Bed]:
    async with FakeLiveKit() as livekit:
        livekit.answers["CreateDispatch"] = (200, AgentDispatch(id="AD_1").SerializeToString())
        yield Bed(store_url, tmp_path, livekit)


def ringing(room: str = "call-1") -> bytes:
    attributes = caller_attributes(number=DID, caller=CALLER, call_id=f"SCL_{room}")
    return body(room=f"{room}-{CALLER}", room_sid=f"RM_{room}", attributes=attributes)


async def replayed(bed: Bed, **changed: Any) -> list[dict[str, Any]]:
    settings = bed.settings(**changed)
    store, lookup = Store(bed.store_url), rehearsing(settings)
    try:
        async with livekit_from(settings) as livekit:
            found = await entries.last_calls(store, 10)
            again = await replay(found, trunks_of(plan_from(settings), livekit), lookup)
    finally:
        await lookup.aclose()
        await store.aclose()
    return [one.document() for one in again]


# ---- then and now -------------------------------------------------------------------------


async def test_nothing_has_changed_where_nothing_was_changed(bed: Bed) -> None:
    await bed.deliver(ringing())

    [one] = await replayed(bed)

    assert one["verdict"] == "dispatched"
    assert one["changed"] == ()
    assert one["now"] == one["then"]
    assert one["now"]["number"] == "US […59]"


async def test_a_changed_region_shows_as_another_number(bed: Bed) -> None:
    await bed.deliver(ringing())

    [one] = await replayed(bed, default_region="IN")

    assert one["changed"] == ("number",)
    assert (one["then"]["number"], one["now"]["number"]) == ("US […59]", "IN […59]")


async def test_a_new_file_shows_as_another_persona(bed: Bed, tmp_path: Path) -> None:
    await bed.deliver(ringing())
    (tmp_path / f"+1{DID}.yaml").write_text(f"personality: {PROMPT}\n")

    [one] = await replayed(bed, persona_dir=str(tmp_path))

    assert one["changed"] == ("source", "version")
    assert (one["then"]["source"], one["now"]["source"]) == ("house", "file")
    assert "it has a file" in one["now"]["because"]


async def test_no_number_and_no_prompt_is_in_what_replay_and_trace_show(
    bed: Bed, tmp_path: Path
) -> None:
    (tmp_path / f"+1{DID}.yaml").write_text(f"personality: {PROMPT}\n")
    bed.more = {"persona_dir": str(tmp_path)}
    await bed.deliver(ringing(), b'{"event":"room_finished","id":"EV_9"}')
    store = Store(bed.store_url)

    shown = json.dumps(await replayed(bed))
    [one] = await entries.last_calls(store, 10)
    trace = await trace_of(store, one.call_id or "")
    await store.aclose()

    assert trace is not None
    assert trace.source == "file"
    for canary in (DID, CALLER[1:], PROMPT):
        assert canary not in shown + json.dumps(trace.document())


async def test_what_was_never_verified_has_nothing_to_be_decided_on(bed: Bed) -> None:
    app = build_app(bed.settings())
    async with app.router.lifespan_context(app) as state, bed.client(app, state) as client:
        assert (await client.post(WEBHOOK, content=ringing())).status_code == 401
    store = Store(bed.store_url)
    found = await entries.named(store, "1")
    lookup = rehearsing(bed.settings())
    async with livekit_from(bed.settings()) as livekit:
        [one] = await replay(found, trunks_of(plan_from(bed.settings()), livekit), lookup)
    await lookup.aclose()
    await store.aclose()

    assert (one.verdict, one.now.decision, one.changed) == ("refused", "none", ())


# ---- faults -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "source", "because"),
    [
        ("timeout", "house", "the persona API did not answer in time (timeout)"),
        ("500", "house", "the persona API failed (status_500)"),
        ("badjson", "house", "the persona API gave an answer that cannot be used"),
        ("slow=3s", "house", "the persona API did not answer in time (timeout)"),
        ("slow=10ms", "api", "the persona API answered"),
        ("stale", "stale", "the persona API could not be reached (connect); last copy of 1 h ago"),
    ],
)
async def test_a_fault_goes_through_the_live_lookup(
    tmp_path: Path, fault: str, source: str, because: str
) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(DOCUMENT))

    settings = RouterSettings.load(
        livekit_url="ws://127.0.0.1:9",
        livekit_api_key=KEY,
        livekit_api_secret=SECRET,
        persona_api_base="http://personas.test",
        persona_budget_s=0.3 if "(timeout)" in because else 5.0,
        state_dir=tmp_path,
    )

    found = await rehearse(
        settings,
        read_dialed(DID, "US"),
        fault=read_fault(fault),
        network=httpx.MockTransport(answer),
    )

    assert found.origin.source == source
    assert found.origin.because.startswith(because)
    assert bool(asked) == (source != "house")
    assert not (tmp_path / "last-known-good").exists()  # a rehearsal leaves nothing behind


async def test_at_a_later_time_the_copy_on_disk_is_older(tmp_path: Path) -> None:
    settings = RouterSettings.load(
        livekit_url="ws://127.0.0.1:9",
        livekit_api_key=KEY,
        livekit_api_secret=SECRET,
        persona_api_base="http://personas.test",
        state_dir=tmp_path,
    )

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(DOCUMENT))

    dialed = read_dialed(DID, "US")
    lookup = lookup_from(settings, Metrics(), transport=httpx.MockTransport(answer))
    await lookup.find(dialed)
    await lookup.aclose()

    found = await rehearse(
        settings,
        dialed,
        fault=read_fault("500"),
        at=time.time() + 3 * 86_400,
    )

    assert found.origin.source == "last_known_good"
    assert found.origin.age_s == pytest.approx(3 * 86_400, abs=60)


# ---- driving again ------------------------------------------------------------------------


async def driven(bed: Bed, peer: str = "127.0.0.1") -> tuple[str, str]:
    settings = bed.settings()
    app = build_app(settings)
    store = Store(bed.store_url)
    [entry] = (await entries.last_calls(store, 10))[-1:]
    async with (
        app.router.lifespan_context(app) as state,
        bed.client(app, state, peer) as client,
        livekit_from(settings) as livekit,
    ):
        driver = Redrive(
            store=store,
            livekit=livekit,
            client=client,
            url=WEBHOOK,
            key=KEY,
            secret=SECRET.encode(),
        )
        came = await driver.drive(entry)
    await store.aclose()
    return came.outcome, came.said


def dispatches(bed: Bed) -> int:
    return sum(method == "CreateDispatch" for method, _, _ in bed.livekit.asked)


async def stuck(bed: Bed, *, waits: bool) -> None:
    """Have a call fail, as LiveKit refused the dispatch; from now on it takes them."""
    content = ringing()
    taken = bed.livekit.answers["CreateDispatch"]
    bed.livekit.answers["CreateDispatch"] = (429, b'{"code":"resource_exhausted"}')
    assert await bed.deliver(content) == [503]
    bed.livekit.answers["CreateDispatch"] = taken
    sid = json.loads(content)["participant"]["sid"]
    present = [ParticipantInfo(sid=sid, identity="sip_caller")] if waits else []
    bed.livekit.answers["ListParticipants"] = (
        200,
        ListParticipantsResponse(participants=present).SerializeToString(),
    )


async def test_a_stuck_call_whose_caller_waits_is_driven_again(bed: Bed) -> None:
    await stuck(bed, waits=True)

    outcome, said = await driven(bed)

    assert (outcome, said) == ("sent", "the router took it; the call is dispatched")
    assert dispatches(bed) == 2


async def test_a_call_that_is_settled_is_left_alone(bed: Bed) -> None:
    await bed.deliver(ringing())

    outcome, said = await driven(bed)

    assert (outcome, dispatches(bed)) == ("settled", 1)
    assert "dispatched" in said


async def test_nobody_is_sent_to_a_caller_who_has_gone(bed: Bed) -> None:
    await stuck(bed, waits=False)

    assert (await driven(bed))[0] == "gone"

    bed.livekit.answers["ListParticipants"] = (404, b'{"code":"not_found"}')
    assert (await driven(bed))[0] == "gone"
    assert dispatches(bed) == 1


async def test_what_the_router_refuses_again_is_said(bed: Bed) -> None:
    await stuck(bed, waits=True)
    bed.livekit.answers["CreateDispatch"] = (429, b'{"code":"resource_exhausted"}')

    assert await driven(bed) == ("refused", "the router answered 503")


# ---- the route ----------------------------------------------------------------------------


async def test_the_trace_of_a_call_is_served(bed: Bed) -> None:
    await bed.deliver(ringing())
    store = Store(bed.store_url)
    [entry] = await entries.last_calls(store, 1)
    await store.aclose()
    path = f"/api/calls/{entry.call_id}/trace"
    settings = bed.settings()
    app = build_app(settings)
    token = operator_token(settings.livekit_api_secret.get_secret_value(), time.time())
    headers = {"Authorization": f"Bearer {token}"}

    async with app.router.lifespan_context(app) as state, bed.client(app, state) as client:
        served = await client.get(path, headers=headers)
        unknown = await client.get("/api/calls/nobody/trace", headers=headers)

    assert served.status_code == 200
    assert served.json()["slowest"]
    assert [stage["name"] for stage in served.json()["stages"]][:3] == [
        "room created",
        "caller joined",
        "webhook",
    ]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_call")
