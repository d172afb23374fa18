"""Rules of countries, as data: engineering that errs on the careful side, and no legal advice."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

import yaml

from router.campaigns.policy import Policy

DEFAULT = "default"


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Policy]:
    """Read the policies that ship: by country in lower case, and ``default`` for all others."""
    folder = files(__name__)
    return {
        one.name.removesuffix(".yaml"): Policy.model_validate(
            yaml.safe_load(one.read_text(encoding="utf-8"))
        )
        for one in folder.iterdir()
        if one.name.endswith(".yaml")
    }
