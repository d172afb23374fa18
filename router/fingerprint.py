"""Whether replicas are set up alike: a short word that differs when their settings do. Pure."""

import hmac
from typing import Final

from router.settings import RouterSettings

#: What all replicas must share, lest a call depend on which of them LiveKit reached.
SHARED: Final = (
    "livekit_url",
    "livekit_api_key",
    "persona_api_base",
    "persona_api_forms",
    "persona_number_fields",
    "persona_budget_s",
    "persona_max_stale_s",
    "agent_to_dispatch",
    "fallback_agent",
    "answer_timeout_s",
    "dispatch_timeout_s",
    "default_region",
    "trunk_regions",
    "trunk_numbers",
    "fallback_number",
)
CHARS: Final = 12


def fingerprint(settings: RouterSettings) -> str:
    """Return it: keyed with LiveKit's secret, so that nobody can guess numbers from it."""
    told = "\n".join(f"{name}={getattr(settings, name)!s}" for name in SHARED)
    secret = settings.livekit_api_secret.get_secret_value().encode()
    return hmac.new(secret, told.encode(), "sha256").hexdigest()[:CHARS]
