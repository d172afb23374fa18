"""What one country allows. Pure."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from router.campaigns.model import Window


class Sentence(BaseModel):
    """Something that a person has to be told, in one language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1)]
    said_by: Annotated[
        tuple[str, ...], Field(description="words by which a greeting says it already")
    ] = ()


def _has_english(sentences: dict[str, Sentence]) -> dict[str, Sentence]:
    if "en" not in sentences:
        raise ValueError("needs en, for languages that it does not name")
    return sentences


Sentences = Annotated[dict[str, Sentence], AfterValidator(_has_english)]


class Policy(BaseModel):
    """The rules of a country; a campaign can only be stricter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Window
    consent: Annotated[str, Field(description="what a person must have agreed to; empty: nothing")]
    calls_per_day: Annotated[int, Field(ge=1, description="to a person, in 24 hours")]
    calls_per_week: Annotated[int, Field(ge=1, description="to a person, in 7 days")]
    ai_disclosure: Annotated[
        Sentences, Field(description="by language: that a machine speaks; it begins each call")
    ]
    recording_disclosure: Annotated[
        Sentences, Field(description="by language: that the call is recorded, where it is")
    ]
