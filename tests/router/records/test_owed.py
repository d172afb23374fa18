"""What was dispatched without the database, and is told to it afterwards; on each database."""

from pathlib import Path

import sqlalchemy as sa

from personas.phone import read_dialed
from router.db import Store
from router.records.claims import Claim, Claims, claims
from router.records.owed import Owed, Owing
from router.routing import InboundCall
from tests.fakes_personas import persona

CALL = InboundCall(
    room="call-1",
    room_sid="RM_1",
    sip_call_id="SCL_1",
    participant_identity="sip_1",
    trunk_id=None,
    caller=None,
    dialed=read_dialed("+13125550100", "US"),
)
SPARE = Claim("spare-1", 1, spare=True)
PERSONA = persona("+13125550100")


def owing(claim: Claim = SPARE) -> Owing:
    return Owing(CALL, claim, "dispatched", "api", PERSONA, "AD_1")


def owed_to(store: Store) -> Owed:
    return Owed(store, owner="router-1", clock=lambda: 1000.0)


def claims_of(store: Store, owner: str = "router-1") -> Claims:
    return Claims(store, owner=owner, lease_s=6.0, clock=lambda: 990.0, new_id=lambda: "call-1")


async def rows(store: Store) -> list[tuple[str, str, int, str | None]]:
    columns = (claims.c.call_id, claims.c.state, claims.c.attempt, claims.c.persona_source)
    found = await store.read(lambda connection: connection.execute(sa.select(*columns)).all())
    return [tuple(row) for row in found]


async def claim(store: Store, owner: str = "router-1") -> Claim:
    taken = await claims_of(store, owner).take(
        room=CALL.room, room_sid=CALL.room_sid, sip_call_id=CALL.sip_call_id
    )
    assert isinstance(taken, Claim)
    return taken


async def test_a_call_that_nobody_claimed_has_a_claim_afterwards(store: Store) -> None:
    owed = owed_to(store)
    owed.add(owing())

    assert await owed.write()

    assert await rows(store) == [("spare-1", "dispatched", 1, "api")]
    assert len(owed) == 0


async def test_writing_it_twice_changes_nothing(store: Store) -> None:
    owed = owed_to(store)
    for _ in range(2):
        owed.add(owing())
        await owed.write()

    assert await rows(store) == [("spare-1", "dispatched", 1, "api")]


async def test_a_claim_whose_dispatch_could_not_be_recorded_is_settled(store: Store) -> None:
    taken = await claim(store)
    owed = owed_to(store)
    owed.add(owing(taken))

    await owed.write()

    assert await rows(store) == [("call-1", "dispatched", 1, "api")]


async def test_our_claim_that_was_taken_too_late_becomes_that_of_the_call(store: Store) -> None:
    await claim(store)  # its caller had given up waiting and went on with a spare one
    owed = owed_to(store)
    owed.add(owing())

    await owed.write()

    assert await rows(store) == [("spare-1", "dispatched", 1, "api")]


async def test_and_so_it_does_when_the_room_has_gone_since(store: Store) -> None:
    await claim(store)
    await claims_of(store).ended(await claims_of(store).watched(), "the room is gone")
    owed = owed_to(store)
    owed.add(owing())

    await owed.write()

    assert await rows(store) == [("spare-1", "ended", 1, "api")]


async def test_another_routers_claim_stays_as_it_is(store: Store) -> None:
    await claim(store, owner="router-2")
    owed = owed_to(store)
    owed.add(owing())

    assert await owed.write()

    assert await rows(store) == [("call-1", "claimed", 1, None)]


async def test_a_call_that_was_answered_meanwhile_stays_answered(store: Store) -> None:
    taken = await claim(store)
    [call] = await claims_of(store).watched()
    await claims_of(store).answered(call)
    owed = owed_to(store)
    owed.add(owing(taken))

    await owed.write()

    assert await rows(store) == [("call-1", "answered", 1, "api")]


async def test_a_later_attempt_is_not_undone(store: Store) -> None:
    taken = await claim(store)
    [call] = await claims_of(store).watched()
    await claims_of(store, "router-2").next_attempt(call, failures=1)
    owed = owed_to(store)
    owed.add(owing(taken))

    await owed.write()

    assert await rows(store) == [("call-1", "claimed", 2, None)]


async def test_the_persona_that_was_sent_is_kept_for_a_call_that_goes_on(store: Store) -> None:
    owed = owed_to(store)
    owed.add(owing())

    await owed.write()

    spoke = await claims_of(store).spoke("spare-1")
    assert spoke is not None
    assert spoke.persona == PERSONA


async def test_while_the_database_is_away_it_stays_owed(tmp_path: Path) -> None:
    broken = Store(f"sqlite:///{tmp_path}")  # a folder
    owed = owed_to(broken)
    owed.add(owing())

    assert not await owed.write()

    assert len(owed) == 1
    await broken.aclose()
