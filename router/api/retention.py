"""How long each kind of data is kept."""

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from router.api.endpoints import Ask
from router.retention_shown import shown_days


class KindShown(BaseModel):
    """One kind of data."""

    kind: str
    days: float | None = Field(description="null: until somebody deletes it")
    setting: str | None = Field(description="what changes it")


class RetentionShown(BaseModel):
    """All kinds."""

    items: list[KindShown]


async def retention(ask: Ask) -> Response:
    """List how long each kind is kept."""
    items = [
        {"kind": kind, "days": days, "setting": setting}
        for kind, days, setting in shown_days(ask.services.settings)
    ]
    return JSONResponse({"items": items})
