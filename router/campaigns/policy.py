"""What one country allows. Pure."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from router.campaigns.model import Window


class Policy(BaseModel):
    """The rules of a country; a campaign can only be stricter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Window
    consent: Annotated[str, Field(description="what a person must have agreed to; empty: nothing")]
    calls_per_day: Annotated[int, Field(ge=1, description="to a person, in 24 hours")]
    calls_per_week: Annotated[int, Field(ge=1, description="to a person, in 7 days")]
