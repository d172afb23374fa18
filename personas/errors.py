"""What can go wrong while finding out who should speak.

PersonaRouterError        base of every error that this project raises on purpose
├── SettingsInvalid       the environment is wrong; tell the operator all of it at once, exit 3
└── PersonaError          base of the errors of this package
    ├── PersonaNotFound     the source answered: no such persona; do not retry
    ├── PersonaUnavailable  the source did not answer; a retry may help
    ├── PersonaInvalid      the source answered with something unusable
    └── BadMetadata         job metadata is not JSON that we can read
"""

from collections.abc import Sequence


class PersonaRouterError(Exception):
    """Base of every error that this project raises on purpose."""


class SettingsInvalid(PersonaRouterError):
    """The environment cannot be used as it is.

    ``problems`` holds one line for each setting that is wrong, each naming the variable and what
    to do, and never a value.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class PersonaError(PersonaRouterError):
    """Base of the errors of this package; ``reason`` is a short, stable word for logs."""

    def __init__(self, message: str = "", *, reason: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason or type(self).__name__


class PersonaNotFound(PersonaError):
    """The source answered: there is no persona of that number. Do not retry."""


class PersonaUnavailable(PersonaError):
    """The source did not answer. A retry may help."""


class PersonaInvalid(PersonaError):
    """The source answered with something that cannot be used as this number's persona."""


class BadMetadata(PersonaError):
    """Job metadata is not JSON that we can read."""
