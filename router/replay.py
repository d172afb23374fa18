"""Deliveries of the journal decided on again: by today's code and configuration, without effect.

The live rule and the live lookup are asked, on copies that are only read. What is shown holds no
number but its region and last two digits, and of a persona its source and version.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import httpx

from personas.lookup import PersonaLookup
from router.db import Store
from router.deliveries import body
from router.dispatch import LiveKit
from router.errors import LiveKitUnavailable
from router.events import sign
from router.inbound import explained
from router.metrics import Metrics
from router.records.claims import claim_of
from router.records.entries import Again, Entry
from router.routing import Answer, Ignore, NumberingPlan, decide
from router.services import lookup_from
from router.settings import RouterSettings
from router.trunks import Trunks

REDRIVE_TIMEOUT_S: Final = 10.0
_CHANGES: Final = ("decision", "number", "source", "version")

SETTLE_TRIES: Final = 10
SETTLE_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it may be shown."""

    decision: str  # answer, ignore, refuse
    because: str
    number: str | None = None  # "US […59]"; None: unknown, or none was asked for
    source: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """One delivery, decided on then and now. *changed* are the fields that differ."""

    id: int
    at: float  # Unix seconds
    event: str
    call_id: str | None
    verdict: str
    then: Decided
    now: Decided
    changed: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Redriven:
    """What came of sending a delivery again, in a word and in a sentence."""

    outcome: Literal["sent", "settled", "held", "gone", "refused", "not_a_call"]
    said: str


async def replay(entries: Sequence[Entry], trunks: Trunks, lookup: PersonaLookup) -> list[Replayed]:
    """Decide on each of *entries* again."""
    return [await _replayed(one, trunks, lookup) for one in entries]


async def _replayed(entry: Entry, trunks: Trunks, lookup: PersonaLookup) -> Replayed:
    again = entry.again
    then = Decided(
        decision=entry.decision or "none",
        because=entry.because,
        number=_shown(again.number, again.region) if again else None,
        source=entry.source,
        version=entry.version,
    )
    now, number = await _decided(entry, trunks, lookup)
    changed = [name for name in _CHANGES if getattr(then, name) != getattr(now, name)]
    if again is not None and again.number != number and "number" not in changed:
        changed.insert(0, "number")  # two numbers that look alike
    if entry.source is None and entry.decision == "answer":  # it did not come to a lookup
        changed = [name for name in changed if name not in {"source", "version"}]
    return Replayed(
        id=entry.id,
        at=entry.received_at,
        event=entry.event or "",
        call_id=entry.call_id,
        verdict=entry.verdict,
        then=then,
        now=now,
        changed=tuple(changed),
    )


async def _decided(
    entry: Entry, trunks: Trunks, lookup: PersonaLookup
) -> tuple[Decided, str | None]:
    if entry.event is None:
        return Decided("none", "it was not verified: there is nothing to decide on"), None
    event = entry.again.event if entry.again else entry.as_shown()
    decision = decide(event, trunks.plan)
    if not isinstance(decision, Answer):
        kind = "ignore" if isinstance(decision, Ignore) else "refuse"
        return Decided(kind, decision.because), None
    if entry.again is None:  # its number was not kept
        return Decided("answer", decision.because), None
    if not decision.call.dialed.dialed_as:  # as the live path does
        learnt = decide(event, await trunks.learn())
        decision = learnt if isinstance(learnt, Answer) else decision
    number = decision.call.dialed.number
    found = await lookup.find(decision.call.dialed)
    shown = Decided(
        decision="answer",
        because=explained(found.origin, decision.because).because,
        number=_shown(number.e164, number.region) if number else None,
        source=found.origin.source,
        version=found.origin.version,
    )
    return shown, number.e164 if number else None


def _shown(e164: str | None, region: str | None) -> str | None:
    return f"{region or '??'} […{e164[-2:]}]" if e164 else None


def rehearsing(settings: RouterSettings) -> PersonaLookup:
    """Return today's lookup, which changes nothing on disk; close it with ``aclose``."""
    return lookup_from(settings, Metrics(), read_only=True)


# ---- driving a stuck call again -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Redrive:
    """Posts a call's delivery to the router at *url* once more, freshly signed, if it is stuck."""

    store: Store
    livekit: LiveKit
    client: httpx.AsyncClient
    url: str  # of the webhook
    key: str
    secret: bytes
    clock: Callable[[], float] = time.time

    async def drive(self, entry: Entry) -> Redriven:
        """Send *entry* again unless its call is settled, under way or gone.

        Raises:
            StoreUnavailable: the database did not answer.
            LiveKitUnavailable: LiveKit did not say who is in the room.
            httpx.HTTPError: the router did not answer.
        """
        again = entry.again
        if again is None:
            return Redriven("not_a_call", "it is no delivery of a caller: nothing was sent")
        state, lease_until = await self._claim(again)
        if state not in {"unclaimed", "claimed", "released"}:
            return Redriven("settled", f"the call is {state}: nothing was sent")
        if state == "claimed" and lease_until > self.clock():
            return Redriven("held", "the call is being dispatched now: nothing was sent")
        if not await self._waits(again):
            # A dispatch would create the room anew, with an agent alone in it.
            return Redriven("gone", "the caller is not in the room any more: nothing was sent")
        status = await self._post(again)
        if status != httpx.codes.OK:
            return Redriven("refused", f"the router answered {status}")
        state = await self._settled(again)
        return Redriven("sent", f"the router took it; the call is {state}")

    async def _claim(self, again: Again) -> tuple[str, float]:
        sip_call_id = again.attributes.get("sip.callID")
        claim = await claim_of(self.store, room_sid=again.event.room_sid, sip_call_id=sip_call_id)
        return claim or ("unclaimed", 0.0)

    async def _waits(self, again: Again) -> bool:
        try:
            present = await self.livekit.participants(again.event.room)
        except LiveKitUnavailable as exc:
            if exc.reason == "not_found":
                return False
            raise
        caller = again.event.participant
        return caller is not None and caller.sid in {one.sid for one in present}

    async def _post(self, again: Again) -> int:
        event = again.event
        content = body(
            event.name,
            room=event.room,
            room_sid=event.room_sid,
            attributes=dict(again.attributes),
            identity=event.participant.identity if event.participant else "",
            now=self.clock(),
        )
        answer = await self.client.post(
            self.url,
            content=content,
            headers={
                "Authorization": sign(content, self.clock(), self.key, self.secret),
                "Content-Type": "application/webhook+json",
            },
            timeout=REDRIVE_TIMEOUT_S,
        )
        return answer.status_code

    async def _settled(self, again: Again) -> str:
        """Wait a moment for the claim to be settled: the router answers before it is written."""
        state = "unclaimed"
        for _ in range(SETTLE_TRIES):
            state, _until = await self._claim(again)
            if state not in {"unclaimed", "claimed"}:
                break
            await asyncio.sleep(SETTLE_PAUSE_S)
        return state


def trunks_of(plan: NumberingPlan, livekit: LiveKit) -> Trunks:
    """Return the numbering plan, which LiveKit is asked for where a number is hidden."""
    return Trunks(plan, livekit, clock=time.monotonic)
