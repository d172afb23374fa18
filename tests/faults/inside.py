"""The application in this very process, asked over ASGI without a client: thousands a second."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from starlette.types import ASGIApp, Message
from structlog.testing import capture_logs

from router.app import WEBHOOK_PATH, build_app
from router.records.claims import claims
from router.services import Services
from router.settings import RouterSettings
from tests.bench.load import KEY, SECRET
from tests.faults.rooms import FakeRooms

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
CRASHED = -1  # in place of a status: the application raised


@dataclass(kw_only=True, slots=True)
class Inside:
    """A started application, the LiveKit that it asks, and all that it complained about."""

    app: ASGIApp  # what is asked; a check's bad variant puts its own here
    services: Services
    livekit: FakeRooms
    logs: list[Any]
    complaints: list[str] = field(default_factory=list)  # of the event loop

    async def ask(self, body: bytes, headers: Headers) -> int:
        """Deliver *body*; give the status, or ``CRASHED``."""
        given = iter([{"type": "http.request", "body": body, "more_body": False}])
        status = CRASHED

        async def receive() -> Message:
            return next(given)

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        scope = {
            "type": "http",
            "method": "POST",
            "path": WEBHOOK_PATH,
            "headers": [(b"content-length", str(len(body)).encode()), *headers],
            "state": {"services": self.services},
        }
        try:
            await self.app(scope, receive, send)
        except Exception:  # noqa: BLE001  # that is what is looked for
            return CRASHED
        return status

    async def claimed(self) -> int:
        """Count the claims."""
        count = sa.select(sa.func.count()).select_from(claims)
        found = await self.services.store.read(lambda connection: connection.scalar(count))
        return found or 0

    def crashes(self) -> list[str]:
        """Name the log events that tell of a defect, and what the event loop complained about."""
        told = [entry["event"] for entry in self.logs if entry.get("exc_info")]
        return told + self.complaints


@asynccontextmanager
async def inside(folder: Path, database_url: str = "") -> AsyncIterator[Inside]:
    """Start the application over *folder*, or another database."""
    async with FakeRooms() as livekit:
        app = build_app(
            RouterSettings.load(
                livekit_url=livekit.url,
                livekit_api_key=KEY,
                livekit_api_secret=SECRET,
                persona_api_base="off",
                default_region="US",
                state_dir=folder,
                database_url=database_url,
            )
        )
        with capture_logs() as logs:
            async with app.router.lifespan_context(app) as state:
                services: Services = (state or {})["services"]
                asked = Inside(app=app, services=services, livekit=livekit, logs=logs)
                loop = asyncio.get_running_loop()
                loop.set_exception_handler(
                    lambda _loop, context: asked.complaints.append(context["message"])
                )
                try:
                    yield asked
                finally:
                    loop.set_exception_handler(None)
