"""A running router, asked over HTTP by a command of this machine."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from router.campaigns.refusals import FIXES
from router.cli.exits import CheckFailed, NotThere, PolicyRefused, RemoteAway
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    import httpx

    from router.settings import RouterSettings

TIMEOUT_S: Final = 10.0
AWAY: Final = (
    "the router did not answer at {to} ({why}); start `persona-router serve`, or name --to"
)


@dataclass(slots=True)
class RouterApi:
    """Asks as this machine's operator. Each question raises RemoteAway, NotThere or CheckFailed."""

    settings: "RouterSettings"
    to: str = ""
    tenant: str = DEFAULT_TENANT
    _client: "httpx.Client" = field(init=False)

    def __post_init__(self) -> None:
        import httpx

        self.to = (self.to or f"http://{self.settings.host}:{self.settings.port}").rstrip("/")
        self._client = httpx.Client(base_url=self.to, timeout=TIMEOUT_S)

    def get(self, path: str, **query: Any) -> Any:
        """Ask for *path* under ``/api``."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, document: Any = None) -> Any:
        """Have something done; raises PolicyRefused too, when nobody may be called."""
        return self._ask("POST", path, json=document)

    def patch(self, path: str, document: Any) -> Any:
        """Have something changed."""
        return self._ask("PATCH", path, json=document)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        import httpx

        from router.access import operator_token

        secret = self.settings.livekit_api_secret.get_secret_value()
        token = operator_token(secret, time.time(), self.tenant)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = self._client.request(method, f"/api{path}", headers=headers, **more)
            said = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as exc:
            raise RemoteAway(AWAY.format(to=self.to, why=type(exc).__name__)) from None
        if answer.is_success:
            return said
        code, fix = str(said.get("code", answer.status_code)), str(said.get("fix", ""))
        if code in FIXES:
            raise PolicyRefused(f"nobody was called: {code}; {fix}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotThere(f"{code}: {fix}")
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.SERVICE_UNAVAILABLE}:
            raise RemoteAway(f"{self.to} answered {answer.status_code} {code}: {fix}")
        raise CheckFailed(f"{code}: {fix}")
