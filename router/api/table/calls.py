"""Calls, what was said and told in them, and their figures."""

from typing import Final

from router.api import calls
from router.api.calendars import calendar
from router.api.endpoints import Endpoint
from router.api.figures import FiguresShown, figures
from router.api.live import Applied, NewPersona, change_persona
from router.api.traces import trace

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="GET",
        path="/summary",
        handler=calls.summary,
        needs="viewer",
        summary="Totals, and the latest calls",
        query=calls.OnPaper,
        answer=calls.Summary,
        pdf=True,
    ),
    Endpoint(
        method="GET",
        path="/figures",
        handler=figures,
        needs="viewer",
        summary="The figures of 24 hours, by the hour",
        answer=FiguresShown,
    ),
    Endpoint(
        method="GET",
        path="/sessions",
        handler=calls.list_sessions,
        needs="viewer",
        summary="Calls, as older clients know them",
        query=calls.WhichCalls,
        answer=calls.SessionsShown,
        csv=True,
    ),
    Endpoint(
        method="GET",
        path="/information",
        handler=calls.list_facts,
        needs="viewer",
        summary="What callers told",
        query=calls.WhichFacts,
        answer=calls.FactsShown,
        csv=True,
    ),
    Endpoint(
        method="GET",
        path="/calls",
        handler=calls.list_calls,
        needs="viewer",
        summary="Calls",
        query=calls.WhichCalls,
        answer=calls.CallsShown,
        csv=True,
    ),
    Endpoint(
        method="GET",
        path="/calls/{id}",
        handler=calls.show_call,
        needs="viewer",
        summary="One call: record, transcript, facts, events",
        query=calls.OnPaper,
        answer=calls.WholeCall,
        pdf=True,
    ),
    Endpoint(
        method="GET",
        path="/calls/{id}/trace",
        handler=trace,
        needs="viewer",
        summary="Where the ring time of a call went",
    ),
    Endpoint(
        method="POST",
        path="/calls/{id}/persona",
        handler=change_persona,
        needs="operator",
        summary="Have another persona speak from the next turn on",
        body=NewPersona,
        answer=Applied,
    ),
    Endpoint(
        method="GET",
        path="/calendars/{name}.ics",
        handler=calendar,
        needs="viewer",
        summary="The appointments of a built-in calendar, as iCalendar",
    ),
)
