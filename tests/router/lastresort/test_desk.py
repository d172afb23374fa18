"""The router answers a call itself: the process in the room and LiveKit are made up."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from router.db import Store
from router.demo.deliveries import caller_attributes
from router.errors import LiveKitUnavailable
from router.lastresort.desk import LastResort, Stranded, available
from router.metrics import Metrics
from router.records.claims import Claim, Claims
from router.routing import Participant
from tests.e2e.evidence import until as until_found
from tests.fakes_personas import until

CALLER = Participant("PA_1", "sip_1", "SIP", caller_attributes(number="+13125550100"))
AGENT = Participant("PA_2", "agent-1", "AGENT", {})
NUMBER = "+13125550188"


@dataclass
class FakeRooms:
    """One room at LiveKit; ``refusing`` is raised by a transfer, ``held`` keeps one waiting."""

    people: list[Participant] = field(default_factory=lambda: [CALLER])
    url: str = "ws://127.0.0.1:9"
    refusing: LiveKitUnavailable | None = None
    held: asyncio.Event | None = None
    done: list[str] = field(default_factory=list)

    def join_token(self, room: str, identity: str) -> str:
        return "a token"

    async def participants(self, room: str) -> Sequence[Participant]:
        return self.people

    async def transfer(self, room: str, identity: str, to: str) -> None:
        self.done.append(f"transfer {identity} {to}")
        if self.held is not None:
            await self.held.wait()
        if self.refusing is not None:
            raise self.refusing

    async def remove(self, room: str, identity: str) -> None:
        self.done.append(f"remove {identity}")
        if not self.people:
            raise LiveKitUnavailable("not_found")

    async def end(self, room: str) -> None:
        self.done.append(f"end {room}")


class Bench:
    """A call that nobody answered, claimed for the last resort, and its clock."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rooms = FakeRooms()
        self.metrics = Metrics()
        self.now = 1_800_000_000.0
        self.claims = self.claims_of("router-1")
        self.stranded: Stranded

    def claims_of(self, owner: str) -> Claims:
        return Claims(
            self.store, owner=owner, lease_s=6.0, clock=lambda: self.now, new_id=lambda: "call-1"
        )

    async def ring(self) -> None:
        await self.claims.take(room="call-1", room_sid="RM_1", sip_call_id="SCL_1")
        [call] = await self.claims.watched()
        claim = await self.claims.next_attempt(call, failures=5)
        assert claim is not None
        self.stranded = Stranded(call, claim, CALLER.identity, "de")

    def desk(
        self, mode: str, *, most: int = 1, number: str = "", limit_s: float = 30.0
    ) -> LastResort:
        return LastResort(
            livekit=self.rooms,
            claims=self.claims,
            metrics=self.metrics,
            most=most,
            number=number,
            command=(sys.executable, str(Path(__file__).with_name("fake_line.py")), mode),
            limit_s=limit_s,
            renew_s=0.02,
            leave_s=0.2,
        )

    def counted(self, how: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "persona_router_last_resort_total", {"how": how}
        )

    async def states(self) -> list[str]:
        return [call.state for call in await self.claims.watched()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = await Store(f"sqlite:///{tmp_path / 'calls.db'}").open()
    bench = Bench(store)
    await bench.ring()
    yield bench
    await store.aclose()


async def test_the_caller_hears_the_recording_and_the_room_is_ended(bench: Bench) -> None:
    how = await bench.desk("well").answer(bench.stranded)

    assert how == "goodbye"
    assert bench.rooms.done == ["end call-1"]
    assert bench.counted("goodbye") == 1
    assert await bench.states() == []


async def test_the_caller_is_handed_on(bench: Bench) -> None:
    how = await bench.desk("well", number=NUMBER).answer(bench.stranded)

    assert how == "transferred"
    assert bench.rooms.done == [f"transfer sip_1 {NUMBER}", "end call-1"]


async def test_a_caller_who_leaves_before_livekit_says_that_they_were_handed_on_was_handed_on(
    bench: Bench,
) -> None:
    bench.rooms.held = asyncio.Event()
    answering = asyncio.create_task(bench.desk("leaves", number=NUMBER).answer(bench.stranded))
    await until(lambda: bool(bench.rooms.done))
    bench.rooms.held.set()

    assert await answering in {"transferred", "caller_gone"}
    assert bench.rooms.done[-1] == "end call-1"


async def test_a_carrier_that_will_not_have_them_leads_to_a_goodbye(bench: Bench) -> None:
    bench.rooms.refusing = LiveKitUnavailable("transfer_failed")

    how = await bench.desk("well", number=NUMBER).answer(bench.stranded)

    assert how == "goodbye"
    assert bench.rooms.done[-1] == "end call-1"


async def test_it_does_not_begin_where_an_agent_is(bench: Bench) -> None:
    bench.rooms.people.append(AGENT)

    assert await bench.desk("well").answer(bench.stranded) == "agent_came"
    assert bench.rooms.done == []
    assert await bench.states() == ["claimed"]


async def test_it_stops_when_an_agent_comes_and_leaves_the_call_to_it(bench: Bench) -> None:
    assert await bench.desk("agent_came").answer(bench.stranded) == "agent_came"
    assert bench.rooms.done == []


async def test_when_the_caller_hangs_up_no_room_is_left(bench: Bench) -> None:
    assert await bench.desk("caller_gone").answer(bench.stranded) == "caller_gone"
    assert bench.rooms.done == ["end call-1"]


@pytest.mark.parametrize("mode", ["crashes", "refused"])
async def test_where_it_cannot_answer_the_caller_goes_back_to_the_carrier(
    bench: Bench, mode: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        how = await bench.desk(mode).answer(bench.stranded)

    [told] = [line for line in logs if line["event"] == "call.last_resort"]
    assert how == "failed"
    assert told["detail"] in {"the process ended with 3", "ConnectError"}
    assert bench.rooms.done == ["remove sip_1"]
    assert await bench.states() == []


async def test_a_program_that_cannot_be_started_is_no_worse(bench: Bench) -> None:
    desk = bench.desk("well")
    desk.command = ("/nonexistent/python",)

    assert await desk.answer(bench.stranded) == "failed"
    assert bench.rooms.done == ["remove sip_1"]


async def test_it_takes_no_longer_than_it_may(bench: Bench) -> None:
    assert await bench.desk("mute", limit_s=0.3).answer(bench.stranded) == "failed"


async def test_no_more_callers_than_it_may_are_answered(bench: Bench) -> None:
    desk = bench.desk("mute", limit_s=20.0)
    first = asyncio.create_task(desk.answer(bench.stranded))
    await until(lambda: desk._taken == 1)

    second = await desk.answer(bench.stranded)

    assert second == "busy"
    first.cancel()
    await asyncio.wait({first})


async def test_its_claim_is_renewed_and_lost_to_who_took_the_call_over(bench: Bench) -> None:
    answering = asyncio.create_task(bench.desk("mute").answer(bench.stranded))
    began = bench.now
    bench.now += 5.0

    async def renewed() -> bool:
        [call] = await bench.claims.watched()
        return call.lease_until >= began + 11.0

    await until_found(renewed, what="renewal")
    [call] = await bench.claims.watched()
    assert await bench.claims_of("router-2").next_attempt(call, failures=6) is not None

    assert await answering == "taken_over"
    assert bench.rooms.done == []


async def test_a_recording_that_cannot_be_used_is_told(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        await bench.desk("unusable").answer(bench.stranded)

    told = [
        (line["file"], line["reason"]) for line in logs if line["event"] == "recording.unusable"
    ]
    assert told == [("de.wav", "EOFError"), ("de-goodbye.wav", "EOFError")]


async def test_a_claim_that_has_ended_is_not_renewed(bench: Bench) -> None:
    [call] = await bench.claims.watched()
    await bench.claims.ended([call], "it is over")

    assert not await bench.claims.renew(Claim("call-1", call.attempt))


def test_the_extra_is_seen_without_loading_it() -> None:
    assert available()
