"""How a call that we dialed ended, from what LiveKit's SIP service answered. Pure: no I/O.

LiveKit's HTTP status and error code say little (busy is 429, declined is 403), so they are read
only where there is no SIP status: only ``sip_status_code`` tells a callee's answer from a fault of
our own. Whatever leaves it open whether a phone rang is ``uncertain``, and nobody may dial again
for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Disposition(StrEnum):
    """How a call ended."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    DECLINED = "declined"
    INVALID_NUMBER = "invalid_number"
    VOICEMAIL = "voicemail"
    TRANSFERRED = "transferred"
    CANCELED = "canceled"  # by ourselves, while it rang
    FAILED = "failed"  # surely nobody's phone rang, or the network failed it
    UNCERTAIN = "uncertain"  # a phone may have rung, or may be ringing


#: The callee's or their network's answer. Any other status of 300 and more is ``failed``.
BY_SIP_STATUS: Final[Mapping[int, Disposition]] = MappingProxyType(
    {
        404: Disposition.INVALID_NUMBER,
        408: Disposition.NO_ANSWER,
        410: Disposition.INVALID_NUMBER,
        480: Disposition.NO_ANSWER,
        484: Disposition.INVALID_NUMBER,
        486: Disposition.BUSY,
        487: Disposition.CANCELED,
        600: Disposition.BUSY,
        603: Disposition.DECLINED,
        604: Disposition.INVALID_NUMBER,
        607: Disposition.DECLINED,
        608: Disposition.DECLINED,
    }
)

#: LiveKit's own error, without a SIP status. What is not in here is ``uncertain``.
BY_ERROR_CODE: Final[Mapping[str, Disposition]] = MappingProxyType(
    {
        "canceled": Disposition.NO_ANSWER,  # it rang, or nothing answered, until the time was up
        "already_exists": Disposition.UNCERTAIN,
        "bad_route": Disposition.FAILED,
        "failed_precondition": Disposition.FAILED,
        "invalid_argument": Disposition.FAILED,
        "malformed": Disposition.FAILED,
        "not_found": Disposition.FAILED,  # no such trunk
        "out_of_range": Disposition.FAILED,
        "permission_denied": Disposition.FAILED,
        "resource_exhausted": Disposition.FAILED,
        "unauthenticated": Disposition.FAILED,
        "unimplemented": Disposition.FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one dial."""

    disposition: Disposition
    because: str  # a stable phrase: no number, no text of the carrier
    sip_status: int | None = None

    @property
    def answered(self) -> bool:
        """Whether somebody, or something, picked up."""
        return self.disposition is Disposition.ANSWERED


def of_answer(*, waited: bool) -> Outcome:
    """Read LiveKit's 200, which means an answered phone only when the request *waited* for it."""
    if waited:
        return Outcome(Disposition.ANSWERED, "the call was answered")
    return Outcome(Disposition.UNCERTAIN, "it was dialed, and nobody waited for the answer")


def of_error(code: str, metadata: Mapping[str, str]) -> Outcome:
    """Read LiveKit's refusal: its error *code*, and the *metadata* that came with it."""
    raw = metadata.get("sip_status_code", "")
    if raw.isascii() and raw.isdigit() and len(raw) == 3:  # noqa: PLR2004 - as every SIP status
        return of_sip_status(int(raw))
    disposition = BY_ERROR_CODE.get(code, Disposition.UNCERTAIN)
    return Outcome(disposition, f"LiveKit: {code if code in BY_ERROR_CODE else 'unknown error'}")


def of_sip_status(status: int) -> Outcome:
    """Read the final status of an INVITE."""
    if status < 200:  # noqa: PLR2004 - provisional: the phone may be ringing
        return Outcome(Disposition.UNCERTAIN, f"SIP {status}", status)
    if status < 300:  # noqa: PLR2004 - success
        return Outcome(Disposition.ANSWERED, f"SIP {status}", status)
    return Outcome(BY_SIP_STATUS.get(status, Disposition.FAILED), f"SIP {status}", status)


def of_lost_answer() -> Outcome:
    """Say what is known when the request was sent and its answer never came: nothing."""
    return Outcome(Disposition.UNCERTAIN, "LiveKit's answer was lost")
