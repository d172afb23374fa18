"""Which personas spoke on which of our numbers lately, as the records of calls tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from personas.model import Persona
from router.db import Store
from router.records.call_tables import calls
from router.records.snapshots import read, snapshots

MOST: Final = 5_000  # calls that are looked at, the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonaUse:
    """The last call of a number, and the versions that spoke on it."""

    number: str
    call_id: str
    at: float  # Unix seconds
    persona: str | None
    origin: str | None
    because: str | None
    versions: tuple[str, ...]  # the latest first


async def persona_uses(store: Store, tenant: str) -> Mapping[str, PersonaUse]:
    """Return the numbers that were called lately, the latest first; raises StoreUnavailable."""
    about = calls.c
    select = (
        sa.select(
            about.dialed_number,
            about.call_id,
            about.started_at,
            about.persona_name,
            about.persona_origin,
            about.persona_because,
            about.persona_version,
        )
        .where(about.tenant == tenant, about.direction == "inbound")
        .order_by(about.started_at.desc())
        .limit(MOST)
    )
    rows = await store.read(lambda connection: connection.execute(select).all())
    last: dict[str, Any] = {}
    versions: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.dialed_number:
            last.setdefault(row.dialed_number, row)
            spoke = versions.setdefault(row.dialed_number, {})
            if row.persona_version:
                spoke.setdefault(row.persona_version)
    return {
        number: PersonaUse(
            number=number,
            call_id=row.call_id,
            at=row.started_at,
            persona=row.persona_name,
            origin=row.persona_origin,
            because=row.persona_because,
            versions=tuple(versions[number]),
        )
        for number, row in last.items()
    }


async def snapshots_of(store: Store, versions: Sequence[str]) -> Mapping[str, Persona]:
    """Return those of *versions* that are still kept; raises StoreUnavailable."""
    select = sa.select(snapshots).where(snapshots.c.version.in_(list(versions)))
    rows = await store.read(lambda connection: connection.execute(select).all())
    found = {row.version: read(row.document) for row in rows}
    return {version: persona for version, persona in found.items() if persona is not None}
