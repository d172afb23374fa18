"""A campaign's run on its page: how it goes, and what operators want of it."""

from collections.abc import Sequence
from typing import Any, Final

from router.api.attempts import document_of
from router.api.dialing import (
    pause_campaign,
    resume_campaign,
    start_campaign,
    stop_campaign,
)
from router.campaigns.hours import strip_of, windows_of, zones_of
from router.campaigns.policies import shipped
from router.campaigns.progress import Run
from router.dashboard.pages import Visit
from router.errors import RequestRefused
from router.records.campaigns import KnownCampaign
from router.records.outcomes import AttemptFilter, Figures, Outcomes

WEEK_S: Final = 7 * 86_400.0
SAMPLE: Final = 200  # leads by which the zones of a list are told
ZONES: Final = 3
FUNNEL: Final = ("leads of the list", "taken from the list", "dialed", "picked up", "qualified")


async def wish(visit: Visit, key: str, wanted: str, list_name: str | None = None) -> None:
    """Start, pause, resume or stop a campaign's run.

    Raises:
        RequestRefused: 409, not now; 422, there is no such wish.
    """
    match wanted:
        case "start":
            await start_campaign(visit, key, list_name=list_name)
        case "pause":
            await pause_campaign(visit, key)
        case "resume":
            await resume_campaign(visit, key)
        case "stop" | "stop_now":
            await stop_campaign(visit, key, now=wanted == "stop_now")
        case _:
            fix = "start, pause, resume, stop or stop_now"
            raise RequestRefused("no_such_wish", status=422, fix=fix)


async def run_of(visit: Visit, known: KnownCampaign) -> dict[str, Any]:
    """Put together what the page shows of a campaign's run: the last one, else the last week."""
    services, tenant, key = visit.services, visit.tenant, known.campaign.key
    now = services.clock()
    status = await services.engine.status(key, tenant=tenant)
    outcomes = Outcomes(services.store)
    since = status.run.started_at if status.run is not None else now - WEEK_S
    figures = await outcomes.figures(tenant, key, since=since, now=now)
    uncertain = await outcomes.page(
        AttemptFilter(tenant=tenant, campaign=key, state="uncertain"), limit=10
    )
    active = await services.leads.find(tenant)
    sample = await services.leads.page(active, limit=SAMPLE) if active else []
    zones = zones_of((one.lead for one in sample), ZONES) or ("UTC",)
    windows = windows_of(known.campaign, shipped())
    shown = await visit.shown(
        {
            "uncertain": [document_of(one) for one in uncertain.rows],
            "current": [document_of(one) for one in status.current],
        },
        clear=False,
    )
    return {
        "standing": status,
        "figures": figures,
        "funnel": _funnel(figures, status.run),
        "uncertain": shown["uncertain"],
        "current": shown["current"],
        "strips": [strip_of(zone, windows, now) for zone in zones],
        "active": active,
        "now": now,
    }


def _funnel(figures: Figures, run: Run | None) -> Sequence[tuple[str, int]]:
    """Count from the list down to what came of it; without a run, the attempts of the week."""
    leads = run.leads if run is not None else sum(figures.by_state.values())
    taken = run.position if run is not None else leads
    counts = (leads, taken, figures.dialed, figures.answered, figures.qualified)
    return tuple(zip(FUNNEL, counts, strict=True))
