"""Every route of the API, and who may call it; a file for each subject."""

from typing import Final

from router.api.endpoints import Endpoint
from router.api.table import access, calls, campaigns, events, leads, people, personas

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *access.ENDPOINTS,
    *personas.ENDPOINTS,
    *calls.ENDPOINTS,
    *people.ENDPOINTS,
    *events.ENDPOINTS,
    *campaigns.ENDPOINTS,
    *leads.ENDPOINTS,
)
