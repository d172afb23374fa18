"""Numbers, the personas that answer them, and their tools."""

from typing import Final

from router.api import numbers, personas, trials
from router.api.endpoints import Endpoint
from router.api.purges import Purge, Purged, purge

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="POST",
        path="/test_function",
        handler=trials.try_tool,
        needs="admin",
        summary="Run one tool for a call that is none and leaves no record",
        body=trials.Tried,
        answer=trials.Outcome,
        per_minute=30,
    ),
    Endpoint(
        method="GET",
        path="/personas",
        handler=personas.list_personas,
        needs="viewer",
        summary="Numbers, and the persona that answers each",
        query=personas.HowShown,
        answer=personas.NumberPersonas,
        csv=True,
    ),
    Endpoint(
        method="GET",
        path="/personas/diff",
        handler=personas.show_difference,
        needs="operator",
        summary="What changed between two versions of a persona",
        query=personas.Versions,
        answer=personas.Difference,
    ),
    Endpoint(
        method="GET",
        path="/numbers",
        handler=numbers.list_numbers,
        needs="viewer",
        summary="Numbers, and whose they are",
        query=numbers.HowShown,
        answer=numbers.NumbersShown,
        csv=True,
    ),
    Endpoint(
        method="PUT",
        path="/numbers/{number}",
        handler=numbers.assign,
        needs="admin",
        summary="Give a number to a tenant; for the first tenant's admins",
        body=numbers.NewOwner,
    ),
    Endpoint(
        method="DELETE",
        path="/numbers/{number}",
        handler=numbers.release,
        needs="admin",
        summary="Give a number back to the first tenant",
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/personas/purge",
        handler=purge,
        needs="operator",
        summary="Forget the copies of a number's persona, or of all",
        body=Purge,
        answer=Purged,
    ),
)
