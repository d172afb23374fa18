"""What can go wrong on the demo's machine.

DemoError
├── SetupFailed    something that is needed cannot be had; the message says what and how to get it
├── ProcessFailed  a process that we started did not get ready, or died
└── CallFailed     the phone waited for something that did not come
"""

from personas.errors import PersonaRouterError


class DemoError(PersonaRouterError):
    """Base of the errors of this package."""


class SetupFailed(DemoError):
    """Something that is needed cannot be had; the message names it and says how to get it."""


class ProcessFailed(DemoError):
    """A process that we started did not get ready, or died."""


class CallFailed(DemoError):
    """The phone waited for something that did not come."""
