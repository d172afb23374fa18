"""Hands a caller on: SIP REFER through LiveKit, cold, to a number or a SIP address."""

import asyncio
from typing import Final

import aiohttp
import structlog
from livekit import api
from livekit.protocol.sip import SIPTransferStatus

from agent.errors import TransferFailed
from personas.options import TransferTarget

log = structlog.get_logger(__name__)

TRANSFER_TIMEOUT_S: Final = 30.0
WORDS: Final = (
    "The caller could not be put through to {name}. Say so, and offer to take a message or to help"
    " in another way."
)


async def transfer(
    client: api.LiveKitAPI, room: str, identity: str, target: TransferTarget
) -> None:
    """Have the gateway refer the participant *identity* to *target*, and wait for the outcome.

    Raises:
        TransferFailed: in words for the model; the caller is still there.
    """
    to = target.number if target.number.startswith("sip") else f"tel:{target.number}"
    request = api.TransferSIPParticipantRequest(
        participant_identity=identity, room_name=room, transfer_to=to, play_dialtone=True
    )
    try:
        async with asyncio.timeout(TRANSFER_TIMEOUT_S):
            answer = await client.sip.transfer_sip_participant(request, timeout=TRANSFER_TIMEOUT_S)
    except (TimeoutError, api.ServerError, aiohttp.ClientError) as exc:
        reason = exc.code if isinstance(exc, api.ServerError) else type(exc).__name__
        log.warning("transfer.failed", reason=reason)
        raise TransferFailed(WORDS.format(name=target.name)) from exc
    # Servers that do not know this field leave it at "ongoing".
    if answer.status == SIPTransferStatus.STS_TRANSFER_FAILED:
        log.warning("transfer.failed", reason="refused")
        raise TransferFailed(WORDS.format(name=target.name))
    log.info("transfer.done")
