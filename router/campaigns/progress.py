"""What state a campaign's run is in, and what may follow. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

RunState: TypeAlias = Literal["idle", "running", "pausing", "paused", "stopping"]
Wish: TypeAlias = Literal["start", "pause", "resume", "stop"]
#: ``all``: the whole list, many at once. ``one``: one lead. ``next``: one after another.
Mode: TypeAlias = Literal["all", "one", "next"]

#: What a wish makes of a state; what is not in here is refused.
AFTER: Final[Mapping[Wish, Mapping[RunState, RunState]]] = {
    "start": {"idle": "running"},
    "pause": {"running": "pausing", "pausing": "pausing", "paused": "paused"},
    "resume": {"pausing": "running", "paused": "running", "running": "running"},
    "stop": {
        "running": "stopping",
        "pausing": "stopping",
        "paused": "stopping",
        "stopping": "stopping",
        "idle": "idle",
    },
}
#: What a state turns into when its last call is over.
SETTLED: Final[Mapping[RunState, RunState]] = {"pausing": "paused", "stopping": "idle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One campaign's run through a list, as its row says; times are Unix seconds."""

    tenant: str
    campaign: str
    run_id: str
    list_id: str
    list_name: str
    state: RunState
    mode: Mode
    position: int  # of the last lead that was taken, from 1; 0: none yet
    leads: int
    next_at: float  # not before this is the next call made
    started_at: float
    started_by: str
    changed_at: float
    because: str  # why it is in this state


def after(state: RunState, wish: Wish) -> RunState | None:
    """Say what *wish* makes of *state*; None: it cannot be had."""
    return AFTER[wish].get(state)
