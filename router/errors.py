"""What can go wrong while a call is being answered.

RouterError
├── DeliveryRefused     the webhook has no effect; answer its ``status`` and count its ``reason``
├── AccountRefused      an account cannot be made or changed like that
├── AccessRefused       a request whose sender may not; answer its ``status`` and ``fix``
├── TokenRefused        a signed token that proves nothing
├── DispatchError
│   ├── DispatchRefused   LiveKit did nothing: releasing the claim and trying again is safe
│   └── DispatchUnknown   LiveKit may have done it: never repeat blindly, look first
├── ReportRefused       a request of an agent that is not served; answer its ``status`` and ``fix``
├── ToolRefused         a tool was not run or not done; the reason is a sentence for the model
├── CalendarAway        a calendar did not answer: its tools are withdrawn for this call
├── BookingRefused      an appointment cannot be had; the reason is a sentence for the model
├── NotChanged          the persona of a call was not changed, and will not be if tried again now
├── LeadsRefused        a file is no list of leads; its ``fix`` says what to do
├── CampaignRefused     a campaign cannot be like that; its ``fix`` says what to do
├── ErasureRefused      a person cannot be erased now; ``fix`` says why
├── HookRefused         a hook cannot be like that; its ``fix`` says what to do
├── SealBroken          a secret in the database cannot be read with our keys
├── RunRefused          a campaign cannot be started, paused or stopped now; ``fix`` says why
├── BadCursor           a list was asked to go on from a place that is none of its own
├── LiveKitUnavailable  a question to LiveKit was not answered
├── TwirpError          a request of LiveKit's API; ``router/dispatch.py`` says what it means
│   ├── TwirpUnreached    nothing was sent
│   ├── TwirpFailed       the answer was no: its ``status`` and code
│   └── TwirpLost         it was sent, and no answer came that can be read
└── StoreUnavailable    the database did not answer
"""

from personas.errors import PersonaRouterError


class RouterError(PersonaRouterError):
    """Base of the errors of this package; ``reason`` is a short, stable word for logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryRefused(RouterError):
    """A webhook delivery without effect.

    ``status`` is 401 (not signed by us over these bytes), 400 (signed, but rubbish), 413, or 503
    when the body came too slowly.
    """

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class AccountRefused(RouterError):
    """An account that cannot be made or changed like that."""


class AccessRefused(RouterError):
    """A request whose sender has not proved who they are (401), or may not do this (403, 429)."""

    def __init__(self, reason: str, *, status: int, fix: str, retry_after_s: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.fix = fix
        self.retry_after_s = retry_after_s


class RequestRefused(RouterError):
    """A request that cannot be served as it is: 400, 404, 409, 413, 415 or 422."""

    def __init__(self, reason: str, *, status: int, fix: str) -> None:
        super().__init__(reason)
        self.status = status
        self.fix = fix


class TokenRefused(RouterError):
    """A token that proves nothing."""


class ReportRefused(RouterError):
    """A request of an agent that is not served."""

    def __init__(self, reason: str, *, status: int, title: str, fix: str) -> None:
        super().__init__(reason)
        self.status = status
        self.title = title
        self.fix = fix


class ToolRefused(RouterError):
    """A tool was not run or not done: ``status`` 404 (no such tool), 409 or 422.

    ``reason`` is a sentence that the model may be told.
    """

    def __init__(self, reason: str, *, status: int = 422) -> None:
        super().__init__(reason)
        self.status = status


class CalendarAway(RouterError):
    """A calendar did not answer, or not in a way that can be used."""


class BookingRefused(RouterError):
    """An appointment cannot be had: the time is taken, or the calendar wants to know more.

    ``reason`` is a sentence for the model.
    """


class NotChanged(RouterError):
    """Why: ``no_such_call``, ``no_agent``, ``persona_too_large``."""


class LeadsRefused(RouterError):
    """A file that is no list of leads, as a whole; ``fix`` says what to do."""

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


class CampaignRefused(RouterError):
    """A campaign that cannot be made, changed or read like that; ``fix`` says what to do."""

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


class ErasureRefused(RouterError):
    """A person cannot be erased now; ``fix`` says why."""

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


class HookRefused(RouterError):
    """A hook that cannot be made or changed like that; ``fix`` says what to do."""

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


class SealBroken(RouterError):
    """A secret that was sealed with a key we have not, for another row, or not at all."""


class RunRefused(RouterError):
    """A campaign's run cannot do that now, or nobody can be called; ``fix`` says what to do."""

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


class BadCursor(RouterError):
    """A list was asked to go on from a place that is none of its own."""


class DispatchError(RouterError):
    """The agent could not be dispatched."""


class DispatchRefused(DispatchError):
    """LiveKit did nothing: it was not reached, or it said no."""


class DispatchUnknown(DispatchError):
    """The request left and no answer came: it may have been done."""


class LiveKitUnavailable(RouterError):
    """LiveKit did not answer a question, or not in a way that we understand."""


class TwirpError(RouterError):
    """A request of LiveKit's API was not answered as it should be."""


class TwirpUnreached(TwirpError):
    """Nothing was sent: there is no connection."""


class TwirpFailed(TwirpError):
    """LiveKit answered with another ``status`` than 200; ``reason`` is Twirp's code for it."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class TwirpLost(TwirpError):
    """The request left, and no answer came that can be read: it may have been done."""


class StoreUnavailable(RouterError):
    """The database did not answer in time or refused.

    ``passing``: that lies in its state, not in what it was given; a later try may do better.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing
