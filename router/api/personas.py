"""Numbers with the persona that answers each, and what changed between its last two versions."""

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from personas.lookup import Held
from personas.model import Persona
from router.api.calls import listed
from router.api.endpoints import Ask, AsTable
from router.errors import RequestRefused
from router.records.persona_uses import PersonaUse, persona_uses, snapshots_of
from router.services import Services

MOST: Final = 500
_COLUMNS: Final = (
    "number",
    "persona",
    "origin",
    "because",
    "freshness",
    "age_s",
    "trouble",
    "trouble_age_s",
    "version",
    "version_before",
    "last_call_id",
    "last_call_at",
)
Version = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class HowShown(AsTable):
    """How the list, which comes whole, is shown."""

    numbers: Annotated[
        Literal["masked", "clear"], Field(description="clear: for operators, and audited")
    ] = "masked"


class Versions(BaseModel):
    """Two versions of a persona."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    version: Version
    before: Version


class NumberPersona(BaseModel):
    """A number and who answers it, as far as this router knows."""

    number: str
    persona: str | None
    origin: str | None = Field(description="of the last call")
    because: str | None
    freshness: str | None = Field(
        description="of the copy in this router's memory: fresh, revalidating, stale, or absent "
        "where the persona API said that there is none; null: no copy is held"
    )
    age_s: float | None
    trouble: str | None = Field(description="why the persona API did not help last")
    trouble_age_s: float | None
    version: str | None
    version_before: str | None
    last_call_id: str | None
    last_call_at: float | None = Field(description="Unix seconds")


class NumberPersonas(BaseModel):
    """The numbers that were called lately, and those that were given to the tenant."""

    items: list[NumberPersona]
    next: str | None = None


class Difference(BaseModel):
    """What changed, as a unified diff of the two documents."""

    version: str
    before: str
    diff: str


async def list_personas(ask: Ask) -> Response:
    """List numbers and who answers each."""
    return await listed(ask, await rows_of(ask.services, ask.tenant), None, _COLUMNS)


async def show_difference(ask: Ask) -> Response:
    """Say what changed between two versions that spoke to callers of the tenant."""
    asked: Versions = ask.query
    diff = await difference(ask.services, ask.tenant, asked)
    return JSONResponse({"version": asked.version, "before": asked.before, "diff": diff})


async def rows_of(services: Services, tenant: str) -> list[dict[str, Any]]:
    """Return a row for each number of *tenant* that is known; raises StoreUnavailable."""
    uses = dict(await persona_uses(services.store, tenant))
    given = [one.number for one in await services.numbers.list(tenant)]
    names = list(dict.fromkeys([*uses, *given]))[:MOST]
    held = services.lookup.held(frozenset(names))
    return [_row(number, uses.get(number), held.get(number)) for number in names]


def _row(number: str, use: PersonaUse | None, held: Held | None) -> dict[str, Any]:
    versions = use.versions if use else ()
    current = held.version if held and held.version else next(iter(versions), None)
    before = next((one for one in versions if one != current), None)
    return {
        "number": number,
        "persona": (held.persona if held else None) or (use.persona if use else None),
        "origin": use.origin if use else None,
        "because": use.because if use else None,
        "freshness": held.freshness if held else None,
        "age_s": round(held.age_s, 1) if held and held.age_s is not None else None,
        "trouble": held.trouble if held else None,
        "trouble_age_s": _rounded(held.trouble_age_s if held else None),
        "version": current,
        "version_before": before,
        "last_call_id": use.call_id if use else None,
        "last_call_at": use.at if use else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


async def difference(services: Services, tenant: str, asked: Versions) -> str:
    """Return a unified diff of two versions; raises RequestRefused (404)."""
    uses = await persona_uses(services.store, tenant)
    theirs = {version for use in uses.values() for version in use.versions}
    wanted = (asked.before, asked.version)
    found: Mapping[str, Persona] = {}
    if theirs.issuperset(wanted):
        found = await snapshots_of(services.store, wanted)
    if set(found) != set(wanted):
        fix = "a version is kept for a day after a call was last sent it"
        raise RequestRefused("no_such_version", status=404, fix=fix)
    before, after = (_lines(found[version]) for version in wanted)
    old, new = (version[:19] for version in wanted)
    return "\n".join(difflib.unified_diff(before, after, old, new, lineterm=""))


def _lines(persona: Persona) -> list[str]:
    """Write a document with one field on a line, and texts line by line."""
    text = json.dumps(persona.document, ensure_ascii=False, indent=2, sort_keys=True)
    return text.replace("\\n", "\n").splitlines()
