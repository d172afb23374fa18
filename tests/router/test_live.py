"""Personas that change during calls: what is sent to whom, and what is written down."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from personas.changes import TOPIC, Assembly, read
from personas.contract import Origin
from personas.found import Found
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber
from personas.reports import CallReport, Closed, Event, Opened, numbered
from router.db import Store
from router.errors import LiveKitUnavailable, NotChanged
from router.live import Changed, LiveCalls
from router.records.calls import Calls
from router.records.claims import Claim, Claims
from router.records.recollection import Recollection
from router.routing import KIND_AGENT, KIND_SIP, Participant
from tests.fakes_personas import FakeClock

NEW = Persona.from_document({"persona_name": "Jonas", "personality": "Night shift. " * 900})


def agent(identity: str, call_id: str) -> Participant:
    return Participant("PA_1", identity, KIND_AGENT, {"persona.call": call_id})


@dataclass
class FakeRooms:
    """LiveKit's rooms; what is sent is kept by the participants that get it."""

    present: dict[str, list[Participant]] = field(default_factory=dict)
    sent: dict[tuple[str, ...], list[bytes]] = field(default_factory=dict)
    away: bool = False

    async def participants(self, room: str) -> list[Participant]:
        if self.away:
            raise LiveKitUnavailable("timeout")
        if room not in self.present:
            raise LiveKitUnavailable("not_found")
        return self.present[room]

    async def send(self, room: str, identities: Sequence[str], topic: str, data: bytes) -> None:
        assert topic == TOPIC
        assert room in self.present
        self.sent.setdefault(tuple(identities), []).append(data)


@dataclass
class Bench:
    """What changes calls, over real records."""

    calls: Calls
    claims: Claims
    rooms: FakeRooms
    live: LiveCalls
    asked: list[str]

    async def call(self, room: str, *, dialed: str = "+13125550100") -> str:
        claim = await self.claims.take(room=room, room_sid=f"RM_{room}", sip_call_id=None)
        assert isinstance(claim, Claim)
        self.rooms.present[room] = [
            Participant("PA_0", "sip_1", KIND_SIP, {}),
            agent("other", "another call"),
            agent(f"agent {room}", claim.call_id),
        ]
        await self.report(claim.call_id, 1, Opened(room=room, dialed_number=dialed))
        return claim.call_id

    async def report(self, call_id: str, seq: int, event: Event) -> None:
        told = numbered(event, seq=seq, attempt=1, at=1000.0)
        await self.calls.take(CallReport(call_id=call_id, events=(told,)))


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store, clock, rooms = await Store(store_url).open(), FakeClock(), FakeRooms()
    ids = iter("abcdefgh")
    claims = Claims(store, owner="r1", lease_s=6.0, clock=clock, new_id=lambda: next(ids))
    asked: list[str] = []

    async def find(dialed: DialedNumber) -> Found:
        asked.append(dialed.dialed_as)
        return Found(NEW, Origin(source="api", version=NEW.version, because="the API answered"))

    live = LiveCalls(livekit=rooms, claims=claims, recollection=Recollection(store), find=find)
    yield Bench(Calls(store, clock=clock), claims, rooms, live, asked)
    await store.aclose()


async def test_the_agent_of_the_call_alone_gets_it_and_its_tools_are_the_new_ones(
    bench: Bench,
) -> None:
    call_id = await bench.call("r1")

    version = await bench.live.change(call_id, NEW)

    ((identities, packets),) = bench.rooms.sent.items()
    assembly = Assembly()
    *none, text = [assembly.take(packet) for packet in packets]
    assert identities == ("agent r1",)
    assert not any(none)
    assert text is not None
    assert read(text).persona == NEW
    assert version == NEW.version
    spoke = await bench.claims.spoke(call_id)
    assert spoke is not None
    assert spoke.persona == NEW


async def test_a_call_that_is_over_or_unknown_is_not_changed(bench: Bench) -> None:
    call_id = await bench.call("r1")
    await bench.report(call_id, 2, Closed(reason="over", disposition="answered"))

    for wrong in (call_id, "unknown"):
        with pytest.raises(NotChanged) as refused:
            await bench.live.change(wrong, NEW)
        assert refused.value.reason == "no_such_call"
    assert not bench.rooms.sent


async def test_without_its_agent_nothing_is_sent(bench: Bench) -> None:
    call_id = await bench.call("r1")
    bench.rooms.present["r1"].pop()

    with pytest.raises(NotChanged) as refused:
        await bench.live.change(call_id, NEW)

    assert refused.value.reason == "no_agent"
    assert not bench.rooms.sent


async def test_a_persona_that_is_too_long_is_refused(bench: Bench) -> None:
    call_id = await bench.call("r1")
    long = Persona.from_document({"personality": "x" * 500_000})

    with pytest.raises(NotChanged) as refused:
        await bench.live.change(call_id, long)

    assert refused.value.reason == "persona_too_large"


async def test_all_calls_of_a_number_get_what_is_looked_up_now(bench: Bench) -> None:
    first, second = await bench.call("r1"), await bench.call("r2")
    await bench.call("r3", dialed="+13125550199")
    bench.rooms.present["r2"].pop()

    changed = await bench.live.refresh(PhoneNumber("+13125550100"))

    assert changed == Changed(changed=1, not_reached=1)
    assert bench.asked == ["+13125550100", "+13125550100"]
    assert list(bench.rooms.sent) == [("agent r1",)]
    assert first != second


async def test_livekit_away_is_counted(bench: Bench) -> None:
    await bench.call("r1")
    bench.rooms.away = True

    assert await bench.live.refresh(None) == Changed(not_reached=1)
