"""How a command ends, and what a check looks like."""

from enum import IntEnum

from personas.errors import PersonaRouterError

OK_MARK, WARNED, FAILED = "ok   ", "warn ", "error"


class Exit(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_FOUND = 4
    REMOTE_AWAY = 5
    CHECK_FAILED = 6
    REFUSED = 7


class CheckFailed(PersonaRouterError):
    """A check that the user asked for did not pass."""


class PolicyRefused(PersonaRouterError):
    """The gate does not allow it."""


class NotThere(PersonaRouterError):
    """What the user named does not exist."""


class RemoteAway(PersonaRouterError):
    """What the command talks to did not answer."""
