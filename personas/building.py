"""A lookup put together from plain values, with the sources that they name."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx

from personas.asking import CACHE_BYTES, MAX_ENTRIES, answers_cache
from personas.cache import Windows
from personas.lookup import PersonaLookup
from personas.sources.files import FilePersonaSource, house
from personas.sources.http import (
    NUMBER_FIELDS,
    NUMBER_FORMS,
    HttpPersonaSource,
    NumberForm,
)
from personas.sources.last_known_good import LastKnownGood
from personas.sources.shared import SharedPersonas

FETCH_CAP: Final = 2.0  # budgets; how long a fetch that nobody waits for may go on


def build_lookup(
    *,
    api_base: str | None = None,
    api_token: str | None = None,
    number_forms: Sequence[NumberForm] = NUMBER_FORMS,
    number_fields: Sequence[str] = NUMBER_FIELDS,
    budget_s: float = 2.0,
    persona_dir: Path | None = None,
    state_dir: Path | None = None,
    shared: SharedPersonas | None = None,
    max_stale_s: float | None = None,
    max_entries: int = MAX_ENTRIES,
    cache_bytes: int = CACHE_BYTES,
    windows: Windows | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    count: Callable[[str, float], None] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    read_only: bool = False,
) -> PersonaLookup:
    """Put a lookup together from plain values; close it with ``aclose``.

    Args:
        api_base: the persona API is asked as ``<api_base>/<number>``; ``None``: there is none.
        api_token: its bearer token.
        number_forms: in which notations it is asked, in order.
        number_fields: fields of an answer which, when there, must hold the number asked for.
        budget_s: the longest that a caller waits.
        persona_dir: folder of ``<number>.yaml`` and ``house.yaml``.
        state_dir: folder in which ``last-known-good/`` is kept; ``None``: nowhere.
        shared: where replicas share copies of the API's answers; closed with the lookup.
        max_stale_s: how old a copy may be that speaks; a document can ask for less.
        max_entries: numbers kept in memory, if they fit into *cache_bytes*.
        cache_bytes: memory for copies, roughly; a persona of 1 KB takes 4 KB.
        windows: how old a copy may be.
        clock: monotonic seconds.
        wall: Unix seconds.
        count: told the outcome of every request to the API, a short word, and its seconds.
        transport: what requests to the API go through; ``None``: the network.
        read_only: the copies on disk are read, never written or removed.
    """
    max_stale = math.inf if max_stale_s is None else max_stale_s
    source = api_base and HttpPersonaSource(
        api_base,
        token=api_token,
        deadline_s=budget_s * FETCH_CAP,
        forms=number_forms,
        number_fields=number_fields,
        transport=transport,
        count=count,
    )
    return PersonaLookup(
        house=house(persona_dir),
        source=source or None,
        files=FilePersonaSource(persona_dir) if persona_dir else None,
        last_known_good=(
            LastKnownGood(state_dir / "last-known-good", wall=wall, read_only=read_only)
            if state_dir and source
            else None
        ),
        shared=shared,
        budget_s=budget_s,
        max_stale_s=max_stale,
        clock=clock,
        cache=answers_cache(
            clock, max_stale, windows=windows, max_entries=max_entries, max_bytes=cache_bytes
        ),
    )
