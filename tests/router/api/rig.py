"""A router in this process, and clients who are different people."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from router.access import operator_token
from router.app import build_app
from router.principals import Role
from router.services import Services
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit
from tests.migrated import sqlite_at
from tests.samples import KEY, SECRET

PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Rig:
    """The router's inside, and a way to its outside."""

    services: Services
    client: Callable[..., httpx.AsyncClient]
    app: Callable[..., Awaitable[None]]  # for a server of its own
    state: Mapping[str, Any]  # of its lifespan

    async def token(self, role: Role, tenant: str = "default") -> dict[str, str]:
        """Return the header of a machine that has this role."""
        accounts = self.services.access.accounts
        _, shown = await accounts.add_token("test", role, by="test", tenant=tenant)
        return {"Authorization": f"Bearer {shown}"}

    async def user(self, email: str, role: Role, tenant: str = "default") -> None:
        """Add somebody who signs in with ``PASSWORD``."""
        access = self.services.access
        hashed = await access.new_password(PASSWORD)
        await access.accounts.add_user(email, hashed, role, tenant)


@asynccontextmanager
async def open_rig(tmp_path: Path, **changed: Any) -> AsyncIterator[Rig]:
    """Start a router with *changed* settings."""
    async with FakeLiveKit() as livekit:
        usual: dict[str, Any] = {
            "persona_api_base": "off",
            "pace_by_load": False,  # tests keep the machine busy
            "default_region": "US",
            "livekit_url": livekit.url,
            "livekit_api_key": KEY,
            "livekit_api_secret": SECRET.decode(),
            "state_dir": tmp_path,
        }
        settings = RouterSettings.load(**usual | changed)
        database = settings.state_dir / "persona-router.db"
        if not settings.database_url and not database.exists():
            sqlite_at(database)
        app = build_app(settings)
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await app(
                    {**scope, "state": {**scope.get("state", {}), **(state or {})}}, receive, send
                )

            def client(peer: str = "192.0.2.7", base: str = "http://router") -> httpx.AsyncClient:
                transport = httpx.ASGITransport(with_state, client=(peer, 1234))
                return httpx.AsyncClient(transport=transport, base_url=base)

            assert state is not None
            yield Rig(state["services"], client, with_state, state)


def operator_headers() -> dict[str, str]:
    """Return the header of a command of this machine."""
    return {"Authorization": f"Bearer {operator_token(SECRET.decode(), time.time())}"}
