"""Who would answer a number, by the live rule and the live lookup; nothing is sent or kept."""

import time
from typing import Any, Final

import httpx

from personas.found import Found
from personas.phone import DialedNumber
from personas.sources.faults import Fault, FaultTransport
from router.inbound import explained
from router.metrics import Metrics
from router.routing import KIND_SIP, Answer, Event, Participant, decide
from router.services import lookup_from, plan_from
from router.settings import RouterSettings

STALE_AGE_S: Final = 3600.0  # of the copy that `stale` leaves


async def who_answers(
    settings: RouterSettings,
    number: str,
    *,
    caller: str = "",
    trunk_id: str = "",
    fault: Fault | None = None,
    at: float | None = None,
) -> dict[str, Any]:
    """Return the chain from the dialed *number* to the persona, as JSON has it."""
    decision = decide(_ringing(number, caller, trunk_id), plan_from(settings))
    if not isinstance(decision, Answer):
        return {"decision": type(decision).__name__.lower(), "because": decision.because}
    dialed = decision.call.dialed
    found = await rehearse(settings, dialed, fault=fault, at=at)
    return {
        "decision": "answer",
        "dialed_as": dialed.dialed_as,
        "dialed_number": dialed.number.e164 if dialed.number else None,
        "region": dialed.region,
        "persona": found.persona.persona_name,
        "source": found.origin.source,
        "age_s": found.origin.age_s,
        "version": found.persona.version,
        "because": explained(found.origin, decision.because).because,
        "steps": [
            {"source": step.source, "outcome": step.outcome, "ms": step.ms} for step in found.steps
        ],
        "agent": settings.agent_to_dispatch,
    }


def _ringing(number: str, caller: str, trunk_id: str) -> Event:
    attributes = {
        "sip.callID": "SCL_rehearsed",
        "sip.callStatus": "ringing",
        "sip.phoneNumber": caller,
        "sip.ruleID": "SDR_rehearsed",
        "sip.trunkID": trunk_id,
        "sip.trunkPhoneNumber": number,
    }
    known = {name: value for name, value in attributes.items() if value}
    return Event(
        event_id="EV_rehearsed",
        name="participant_joined",
        created_at=time.time(),
        room="call-rehearsed",
        room_sid="RM_rehearsed",
        participant=Participant("PA_rehearsed", "sip_caller", KIND_SIP, known),
    )


async def rehearse(
    settings: RouterSettings,
    dialed: DialedNumber,
    *,
    fault: Fault | None = None,
    at: float | None = None,
    network: httpx.AsyncBaseTransport | None = None,
) -> Found:
    """Look *dialed* up as the router would at *at* (Unix seconds; None: now) with *fault*."""
    ahead_s = 0.0
    shift_s = 0.0 if at is None else at - time.time()
    transport = FaultTransport(fault, network) if fault else network
    lookup = lookup_from(
        settings,
        Metrics(),
        transport=transport,
        clock=lambda: time.monotonic() + ahead_s,
        wall=lambda: time.time() + shift_s + ahead_s,
        read_only=True,
    )
    try:
        if isinstance(transport, FaultTransport) and fault and fault.kind == "stale":
            await lookup.find(dialed)  # leaves the copy
            transport.away, ahead_s = True, STALE_AGE_S
        return await lookup.find(dialed)
    finally:
        await lookup.aclose()
