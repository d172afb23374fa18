"""Purges over HTTP: who may send one, what it says, and that every router hears of it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from personas.phone import read_dialed
from router.app import build_app
from router.demo.persona_api import PersonaApi
from router.services import open_services
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit
from tests.fakes_personas import document, until
from tests.redis_server import RedisServer
from tests.samples import KEY, SECRET

PATH = "/api/personas/purge"
NUMBER = "+13125550100"
DIALED = read_dialed(NUMBER, "US")


def settings(tmp_path: Path, livekit: FakeLiveKit, **changed: Any) -> RouterSettings:
    return RouterSettings.load(
        livekit_url=livekit.url,
        livekit_api_key=KEY,
        livekit_api_secret=SECRET.decode(),
        default_region="US",
        state_dir=tmp_path,
        **({"persona_api_base": "off"} | changed),
    )


@asynccontextmanager
async def started(tmp_path: Path, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with FakeLiveKit() as livekit:
        app = build_app(settings(tmp_path, livekit, **changed))
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, "state": {**(state or {})}}, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with httpx.AsyncClient(transport=transport, base_url="http://router") as client:
                yield client


@pytest.mark.parametrize("wanted", [{"number": NUMBER}, {"number": "3125550100"}, {"all": True}])
async def test_a_purge_is_served_on_loopback(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async with started(tmp_path) as client:
        answer = await client.post(PATH, json=wanted)

    assert answer.status_code == 200
    assert answer.json() == {"purged": "all" if "all" in wanted else "number", "others": "none"}
    assert "312555" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.8.8", 200),
        ("::1", 200),
        ("localhost", 200),
        ("0.0.0.0", 403),  # noqa: S104  (refused)
        ("::", 403),
        ("10.0.0.7", 403),
        ("router.example", 403),
    ],
)
async def test_a_router_that_others_reach_refuses(tmp_path: Path, host: str, status: int) -> None:
    async with started(tmp_path, host=host) as client:
        answer = await client.post(PATH, json={"all": True})

    assert answer.status_code == status
    if status == 403:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "purge_not_allowed"
        assert "HOST" in answer.json()["fix"]


async def test_in_development_every_router_serves_it(tmp_path: Path) -> None:
    async with started(tmp_path, host="0.0.0.0", router_dev=True) as client:  # noqa: S104
        assert (await client.post(PATH, json={"all": True})).status_code == 200


@pytest.mark.parametrize("header", ["Origin", "X-Forwarded-For", "Forwarded", "Via"])
async def test_browsers_and_proxies_are_refused(tmp_path: Path, header: str) -> None:
    async with started(tmp_path) as client:
        answer = await client.post(PATH, json={"all": True}, headers={header: "http://x.example"})

    assert (answer.status_code, answer.json()["code"]) == (403, "purge_passed_on")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "bad_purge"),
        (b"[]", "application/json", 400, "bad_purge"),
        (b"[" * 4000, "application/json", 400, "bad_purge"),
        (b"{}", "application/json", 400, "bad_purge"),
        (b'{"all": false}', "application/json", 400, "bad_purge"),
        (b'{"all": true, "number": "1"}', "application/json", 400, "bad_purge"),
        (b'{"number": "abc"}', "application/json", 400, "number_unknown"),
        (b'{"number": null}', "application/json", 400, "number_unknown"),
        (b'{"all": true}', "text/plain", 415, "not_json"),
        (b" " * 5000, "application/json", 413, "too_large"),
    ],
)
async def test_what_is_no_purge_is_refused_with_a_fix(
    tmp_path: Path, content: bytes, kind: str, status: int, code: str
) -> None:
    async with started(tmp_path) as client:
        answer = await client.post(PATH, content=content, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["fix"]


@pytest.mark.redis
async def test_a_purge_at_one_router_is_seen_by_another_in_under_a_second(
    tmp_path: Path, redis: RedisServer
) -> None:
    served = {NUMBER.removeprefix("+"): document(NUMBER, welcome_message="before")}
    async with AsyncExitStack() as stack:
        livekit = await stack.enter_async_context(FakeLiveKit())
        api = stack.enter_context(PersonaApi(served))
        common = {"persona_api_base": api.url, "redis_url": redis.url, "router_dev": True}
        one, two = [
            await stack.enter_async_context(
                open_services(settings(tmp_path / name, livekit, **common))
            )
            for name in ("one", "two")
        ]
        await until(lambda: bool(one.lookup.shared_well and two.lookup.shared_well))
        for services in (one, two):
            await services.lookup.find(DIALED)
        api.personas[NUMBER.removeprefix("+")] = json.dumps(
            document(NUMBER, welcome_message="after")
        )
        since = time.perf_counter()

        told = await one.lookup.purge(DIALED.number)
        await until(lambda: two.lookup._cache.purges > 0)
        seen = await two.lookup.find(DIALED)

        assert seen.persona.welcome_message == "after"
        assert time.perf_counter() - since < 1.0
        assert told is True
