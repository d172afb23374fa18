"""What can go wrong in the agent on purpose.

PersonaRouterError
└── AgentError
    ├── RoomUnreachable   the room did not let us in within the deadline; LiveKit will say why
    ├── CallerMissing     nobody came to the room, or whoever was there left before the first word
    ├── NotReached        whom we called, or were to call, did not answer; it says how that ended
    ├── ToolUnavailable   a tool could not be run; the reason is a sentence for the model
    ├── ScriptInvalid     the script of a rehearsed conversation cannot be used; say what to mend
    └── TransferFailed    the caller could not be handed on; the reason is a sentence for the model
"""

from personas.dispositions import Outcome
from personas.errors import PersonaRouterError


class AgentError(PersonaRouterError):
    """Base of the errors of this package; ``reason`` is a short, stable phrase for logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RoomUnreachable(AgentError):
    """The room did not let us in within the deadline."""


class CallerMissing(AgentError):
    """Nobody came to the room, or whoever was there left before the first word."""


class NotReached(AgentError):
    """Whom we called, or were to call, did not answer; ``outcome`` says how that ended."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.because)
        self.outcome = outcome


class ToolUnavailable(AgentError):
    """A tool could not be run; ``reason`` is a sentence that the model may be told."""


class ScriptInvalid(AgentError):
    """The script of a rehearsed conversation cannot be used; ``reason`` says what to mend."""


class TransferFailed(AgentError):
    """The caller could not be handed on and is still there; ``reason`` is for the model."""
