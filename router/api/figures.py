"""`GET /api/figures`: what the charts and tiles of the overview show."""

from dataclasses import asdict

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from router.api.endpoints import Ask
from router.api.masks import masked_record


class HourShown(BaseModel):
    """One hour; ring times are percentiles."""

    at: int = Field(description="Unix seconds, when it began")
    calls: int
    ring_p50_ms: float | None
    ring_p95_ms: float | None


class FiguresShown(BaseModel):
    """The calls of 24 hours; names with numbers of calls, the largest first."""

    since: float
    calls: int
    with_problems: int
    ring_p50_ms: float | None
    ring_p95_ms: float | None
    answer_p50_ms: float | None = Field(
        description="from a caller's delivery to LiveKit's answer to the dispatch, as far as the "
        "journal reaches"
    )
    answer_p95_ms: float | None
    by_origin: list[tuple[str, int]]
    by_persona: list[tuple[str, int]]
    by_disposition: list[tuple[str, int]]
    hours: list[HourShown]


async def figures(ask: Ask) -> Response:
    """Count the calls of a day."""
    counted = asdict(await ask.services.figures.of(ask.tenant))
    hours = counted.pop("hours")  # whole hours look like phone numbers, and hold none
    return JSONResponse(masked_record(counted) | {"hours": hours})
