"""Who asks, and what they may. Pure: no I/O."""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Role: TypeAlias = Literal["viewer", "operator", "admin"]
Needs: TypeAlias = Literal["nothing", "viewer", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
DEFAULT_TENANT: Final = "default"  # who runs the router, too: its admins say whose a number is
EVERY_TENANT: Final = "*"  # stands in the place of one, and is no tenant's name
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", re.ASCII)
_RANK: Final = MappingProxyType({"nothing": 0, "viewer": 1, "operator": 2, "admin": 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who has proved who they are."""

    who: str  # "user:<id>", "token:<id>", "jwt:<subject>", "operator" or "dev"
    tenant: str
    role: Role
    name: str = ""  # as a page greets them
    csrf: str | None = None  # of a session in a browser: changes have to bring it along

    def may(self, needs: Needs) -> bool:
        """Whether this role is enough."""
        return _RANK[self.role] >= _RANK[needs]


def tenant_of(value: object) -> str | None:
    """Read a tenant's name; None: it is no such name."""
    return value if isinstance(value, str) and _TENANT.fullmatch(value) else None


def role_of(value: object) -> Role | None:
    """Read a role; None: there is no such role."""
    return next((role for role in ROLES if role == value), None)
