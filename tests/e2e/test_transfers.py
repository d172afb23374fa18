"""A caller who is handed on: what they hear, whom the gateway is told, what the record says."""

import json
from typing import Any

import pytest

from router.demo.phone import Phone
from tests.e2e.bed import Bed
from tests.e2e.evidence import Evidence, private_in, until
from tests.e2e.test_records import record_of
from tests.fakes_sip import FakeSip

DIALED = "+13125550100"
PORTER = "+13125550111"
WITH_SIP = True
PERSONAS = {
    DIALED[1:]: {
        "persona_name": "Mira",
        "personality": "You are Mira, the front desk of a harbour hotel.",
        "welcome_message": "Harbour hotel, Mira speaking.",
        "transfer_targets": [{"name": "night porter", "number": PORTER}],
    }
}
ANSWER_S = 40.0


@pytest.fixture
def sip(bed: Bed) -> FakeSip:
    assert bed.sip is not None
    bed.sip.transfers.clear()
    return bed.sip


async def ask_for(caller: Phone, target: str) -> None:
    await caller.wait_for_words(timeout_s=ANSWER_S)
    await caller.say("/transfer_call " + json.dumps({"target": target}))


async def test_a_caller_is_put_through_to_whom_the_persona_names(
    bed: Bed, evidence: Evidence, sip: FakeSip
) -> None:
    async with bed.phone(DIALED) as caller:
        await ask_for(caller, "night porter")
        [asked] = await until(lambda: sip.transfers, timeout_s=ANSWER_S, what="transfer")
        said = [one.text.strip() for one in caller.utterances]
        await caller.hang_up()  # as the gateway does when the other end has taken the call
        [dispatched] = evidence.router_events("call.dispatched")
        shown: dict[str, Any] = await record_of(evidence, dispatched["call_id"])

    assert said == [
        "Harbour hotel, Mira speaking.",
        "One moment please, I am putting you through.",
    ]
    assert (asked.transfer_to, asked.participant_identity) == (f"tel:{PORTER}", caller.identity)
    assert asked.room_name == caller.room
    assert len(sip.transfers) == 1
    call = shown["call"]
    assert (call["disposition"], call["reason"]) == ("transferred", "the caller was put through")
    assert not private_in(bed.agent.child.log(), [])


async def test_nobody_is_put_through_to_a_number_that_the_model_made_up(
    bed: Bed, sip: FakeSip
) -> None:
    async with bed.phone(DIALED) as caller:
        await ask_for(caller, "+13125550199")
        await caller.wait_for_words(timeout_s=ANSWER_S, count=2, containing="to these only")
        said = [one.text.strip() for one in caller.utterances]

    assert said[1].endswith("You can put callers through to these only: night porter.")
    assert sip.transfers == []
