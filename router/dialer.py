"""Has one number called: an attempt is claimed, an agent is sent, and the agent dials.

The agent joins the room first and dials then, once; what becomes of it, it reports. Nothing here
dials again: an attempt whose order may have been sent is only looked at from then on.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from personas.contract import (
    ATTRIBUTE_ATTEMPT,
    ATTRIBUTE_CALL,
    CallConfig,
    DialOrder,
    Origin,
    Report,
    Ring,
    encode,
)
from personas.errors import PersonaError
from personas.model import SPELLINGS, Persona, version_of
from router.campaigns.disclosure import opening
from router.campaigns.leads import COLUMNS, Lead
from router.campaigns.model import Campaign, WeightedPersona
from router.campaigns.policies import shipped
from router.campaigns.policy import Policy
from router.campaigns.script import rendered
from router.errors import DispatchRefused, DispatchUnknown, LiveKitUnavailable, StoreUnavailable
from router.records.attempts import Attempt, Attempts, Order, Refused
from router.records.calls import Dispatched
from router.routing import Participant

log = structlog.get_logger(__name__)

ORDER_S: Final = 20.0  # how long the order to dial is good: an agent joins in a second
ORDER_SLACK_S: Final = 5.0  # by which the clocks of router and agent may differ
GREETING_CHARS: Final = 600  # a longer script is no greeting, but how the conversation goes


class Rooms(Protocol):
    """What a dialer needs of LiveKit; all but ``dispatch`` raise LiveKitUnavailable."""

    async def dispatch(
        self, room: str, metadata: str, attributes: Mapping[str, str], agent_name: str | None = None
    ) -> str:
        """Send an agent; raises DispatchRefused, DispatchUnknown."""
        ...

    async def participants(self, room: str) -> Sequence[Participant]:
        """Return who is in a room; ``not_found`` when there is no such room."""
        ...

    async def remove(self, room: str, identity: str) -> None:
        """Take a participant out: a phone that rings stops."""
        ...

    async def end(self, room: str) -> None:
        """Delete a room, and with it every call in it."""
        ...


class PersonaFiles(Protocol):
    """The personas that a campaign may name."""

    async def by_id(self, persona_id: str) -> Persona | None:
        """Find one; raises PersonaInvalid."""
        ...


@dataclass(kw_only=True, slots=True)
class Dialer:
    """Makes calls. *clock* gives Unix seconds."""

    attempts: Attempts
    livekit: Rooms
    house: Callable[[], Persona]
    files: PersonaFiles | None = None
    clock: Callable[[], float] = time.time
    report_for: Callable[[str], Report | None] = lambda _call_id: None
    note_call: Callable[[Dispatched], None] = lambda _call: None
    dispatched_at: dict[str, float] = field(default_factory=dict)  # by attempt, of this process

    async def call(self, order: Order) -> Attempt | Refused:
        """Call whom *order* names, if the gate allows it; return when the agent has been sent.

        Raises:
            StoreUnavailable: nobody was called.
        """
        claimed = await self.attempts.claim(order)
        if isinstance(claimed, Refused):
            log.info("attempt.refused", because=claimed.because, campaign=order.campaign.key)
            return claimed
        await self.place(claimed, order)
        return await self.attempts.find(claimed.attempt_id) or claimed

    async def place(self, attempt: Attempt, order: Order) -> None:
        """Send the agent for an attempt that is claimed. Never raises.

        From the moment at which the row says ``dialing`` a phone may ring.
        """
        attempt_id = attempt.attempt_id
        try:
            metadata = await self._metadata(attempt, order)
            if not await self.attempts.dialing(attempt_id):
                log.info("attempt.withdrawn", attempt_id=attempt_id)
                await self._end(attempt, "canceled", "withdrawn before it was dialed")
                return
        except StoreUnavailable as exc:  # whoever looks at it later sees that nothing was sent
            log.error("attempt.not_dialed", attempt_id=attempt_id, reason=exc.reason)
            return
        except PersonaError as exc:
            log.error("attempt.not_dialed", attempt_id=attempt_id, reason=exc.reason)
            await self._end(attempt, "failed", f"persona: {exc.reason}")
            return
        attributes = {ATTRIBUTE_ATTEMPT: "1", ATTRIBUTE_CALL: attempt_id}
        try:
            await self.livekit.dispatch(attempt.room, metadata, attributes)
        except DispatchRefused as exc:
            log.error("attempt.not_dispatched", attempt_id=attempt_id, reason=exc.reason)
            await self._end(attempt, "failed", f"LiveKit did not take the dispatch: {exc.reason}")
        except DispatchUnknown as exc:  # the room will tell
            log.error("attempt.dispatch_unknown", attempt_id=attempt_id, reason=exc.reason)
        else:
            self.dispatched_at[attempt_id] = self.clock()
            log.info("attempt.dispatched", attempt_id=attempt_id, campaign=attempt.campaign)

    async def hang_up(self, attempt_id: str, because: str) -> None:
        """End a call, or have it never begin; a phone that rings stops.

        The wish is written down first: where LiveKit is away, the engine does it when it is back.

        Raises:
            StoreUnavailable: nothing was done.
        """
        if not await self.attempts.want_hang_up(because, attempt_id=attempt_id):
            return
        attempt = await self.attempts.find(attempt_id)
        if attempt is not None and attempt.is_open:
            await self.cut(attempt)

    async def cut(self, attempt: Attempt) -> bool:
        """Hang up what is to be hung up; False: not for sure yet, do it again in a moment.

        An agent that is on its way, or has just joined, may dial after its room was deleted. So
        the attempt stays open until its phone was seen and taken out, or its order is too old.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        because = attempt.hang_up or "hung up"
        sure = attempt.state != "dialing"
        if attempt.state != "claimed":
            try:
                sure = sure or await self._has_dialed(attempt)
                await self.clear(attempt)
            except LiveKitUnavailable as exc:
                log.warning("attempt.not_hung_up", attempt_id=attempt.attempt_id, reason=exc.reason)
                return False
        if not sure and self.clock() < (attempt.dialed_at or 0.0) + ORDER_S + ORDER_SLACK_S:
            return False
        await self.attempts.end(attempt.attempt_id, "canceled", because)
        log.info("attempt.hung_up", attempt_id=attempt.attempt_id)
        return True

    async def _has_dialed(self, attempt: Attempt) -> bool:
        """Whether the phone of an attempt is in its room. Raises LiveKitUnavailable."""
        try:
            there = await self.livekit.participants(attempt.room)
        except LiveKitUnavailable as exc:
            if exc.reason != "not_found":
                raise
            return False
        return any(one.identity == attempt.identity for one in there)

    async def clear(self, attempt: Attempt) -> None:
        """End the room of an attempt, and the phone in it first. Raises LiveKitUnavailable."""
        await _unless_gone(self.livekit.remove(attempt.room, attempt.identity))
        await _unless_gone(self.livekit.end(attempt.room))

    async def _end(self, attempt: Attempt, state: Any, because: str) -> None:
        try:
            await self.attempts.end(attempt.attempt_id, state, because)
        except StoreUnavailable as exc:
            log.error("attempt.not_ended", attempt_id=attempt.attempt_id, reason=exc.reason)

    async def _metadata(self, attempt: Attempt, order: Order) -> str:
        house = self.house()
        persona, source, because = await self._persona(order, house)
        origin = Origin(source=source, version=persona.version, because=because)
        now = self.clock()
        campaign = order.campaign
        config = CallConfig(
            call_id=attempt.attempt_id,
            direction="outbound",
            room=attempt.room,
            dialed_number=attempt.number,
            caller=attempt.number,
            origin=origin,
            variables=variables_of(order.lead),
            report=self.report_for(attempt.attempt_id),
            ring=Ring(dispatched_at=now),
            dial=DialOrder(
                number=attempt.number,
                trunk_id=attempt.trunk or None,
                identity=attempt.identity,
                caller_number=campaign.caller_number or None,
                not_after=now + ORDER_S,
            ),
            campaign_id=campaign.key,
            lead_id=attempt.lead_id,
        )
        self.note_call(
            Dispatched(
                call_id=attempt.attempt_id,
                attempt=1,
                room=attempt.room,
                room_sid=None,
                sip_call_id=None,
                caller=attempt.number,
                dialed_number=attempt.number,
                trunk=attempt.trunk or None,
                persona_name=persona.persona_name,
                persona_version=persona.version,
                persona_origin=source,
                persona_because=because,
                language=persona.language,
                started_at=now,
                direction="outbound",
                campaign_id=campaign.key,
                lead_id=attempt.lead_id,
                tenant=attempt.tenant,
            )
        )
        return encode(persona, config, house).text

    async def first_words(self, campaign: Campaign, lead: Lead) -> str:
        """Say how a call to *lead* would begin; raises PersonaInvalid."""
        return await first_words(campaign, lead, self.house(), self.files)

    async def _persona(self, order: Order, house: Persona) -> tuple[Persona, Any, str]:
        campaign = order.campaign
        chosen, found = await _chosen(campaign, order.lead.phone, self.files)
        base = found or house
        greeting = greeting_of(base, campaign, order.lead.phone, shipped())
        document = spoken(base, campaign, greeting, is_house=found is None)
        if found is None and not (campaign.agent_text or campaign.session_text):
            return Persona.from_document(document), "house", "the campaign says nothing"
        because = "the campaign's words" if found is None else "the persona that the campaign names"
        if chosen is not None and found is None:
            because = "the campaign's words; there is no file of the persona that it names"
        return Persona.from_document(document), "file" if found else "house", because


async def _unless_gone(step: Awaitable[None]) -> None:
    try:
        await step
    except LiveKitUnavailable as exc:
        if exc.reason != "not_found":
            raise


async def first_words(
    campaign: Campaign, lead: Lead, house: Persona, files: PersonaFiles | None
) -> str:
    """Say how a call to *lead* would begin, placeholders filled; raises PersonaInvalid."""
    _, found = await _chosen(campaign, lead.phone, files)
    return rendered(greeting_of(found or house, campaign, lead.phone, shipped()), lead)


async def _chosen(
    campaign: Campaign, number: str, files: PersonaFiles | None
) -> tuple[str | None, Persona | None]:
    chosen = persona_for(campaign, number)
    if chosen is None or files is None:
        return chosen, None
    return chosen, await files.by_id(chosen)


def persona_for(campaign: Campaign, number: str) -> str | None:
    """Choose a campaign's persona for *number*: by weight, and always the same one."""
    personas: tuple[WeightedPersona, ...] = campaign.personas
    total = sum(one.weight for one in personas)
    if not total:
        return None
    digest = hashlib.sha256(f"{campaign.key} {number}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") % total
    for one in personas:
        place -= one.weight
        if place < 0:
            return one.id
    return personas[-1].id


def spoken(base: Persona, campaign: Campaign, greeting: str, *, is_house: bool) -> dict[str, Any]:
    """Put a campaign's words, and the *greeting* of the call, over a persona's document.

    Placeholders stay as they are: the agent fills them, and keeps what leads say apart from what
    it is told.
    """
    document = dict(base.document)
    _say(document, "welcome_message", greeting)
    if not campaign.agent_text and not campaign.session_text and is_house:
        return document
    personality = [] if is_house and campaign.agent_text else [base.personality or ""]
    words = "\n\n".join(filter(None, (*personality, campaign.agent_text)))
    _say(document, "personality", words)
    if len(campaign.session_text) > GREETING_CHARS:
        _say(document, "conversation_structure", campaign.session_text)
    if not campaign.tools:
        document |= {"tools": [], "http_tools": []}
    return document


def greeting_of(
    base: Persona, campaign: Campaign, number: str, policies: Mapping[str, Policy]
) -> str:
    """Give what is said first to *number*, with what it has to be told; placeholders stay."""
    short = 0 < len(campaign.session_text) <= GREETING_CHARS
    return opening(
        campaign.session_text if short else base.welcome_message or "",
        number,
        policies,
        language=base.language,
        recorded=campaign.recorded,
    )


def _say(document: dict[str, Any], name: str, text: str) -> None:
    """Put *text* in the place of whatever stands under any spelling of *name*."""
    for spelling in SPELLINGS[name]:
        document.pop(spelling, None)
    document[SPELLINGS[name][0]] = text


def variables_of(lead: Lead) -> dict[str, str]:
    """Give the values that fill placeholders."""
    known = {name: getattr(lead, name) for name in COLUMNS if getattr(lead, name)}
    if lead.prospect_name:
        known["name"] = lead.prospect_name
    return {**lead.variables, **known}


def version_of_campaign(campaign: Campaign) -> str:
    """Give the content hash of a campaign, by which a row says how it was when it called."""
    return version_of(campaign.model_dump(mode="json"))
