"""Purges over HTTP: who may send one, what it says, and that every router hears of it."""

import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from personas.phone import read_dialed
from router.demo.persona_api import PersonaApi
from router.services import open_services
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit
from tests.fakes_personas import document, until
from tests.redis_server import RedisServer
from tests.router.api.rig import open_rig
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


@pytest.mark.parametrize("wanted", [{"number": NUMBER}, {"number": "3125550100"}, {"all": True}])
async def test_an_operator_purges(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async with open_rig(tmp_path) as rig, rig.client() as client:
        answer = await client.post(PATH, json=wanted, headers=await rig.token("operator"))

    assert answer.status_code == 200
    assert answer.json() == {"purged": "all" if "all" in wanted else "number", "others": "none"}
    assert "312555" not in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "bad_json"),
        (b"[]", "application/json", 422, "bad_body"),
        (b"[" * 4000, "application/json", 400, "bad_json"),
        (b"{}", "application/json", 422, "bad_body"),
        (b'{"all": false}', "application/json", 422, "bad_body"),
        (b'{"all": true, "number": "1"}', "application/json", 422, "bad_body"),
        (b'{"number": "abc"}', "application/json", 422, "number_unknown"),
        (b'{"number": null}', "application/json", 422, "bad_body"),
        (b'{"all": true}', "text/plain", 415, "not_json"),
        (b" " * 300_000, "application/json", 413, "too_large"),
    ],
)
async def test_what_is_no_purge_is_refused_with_a_fix(
    tmp_path: Path, content: bytes, kind: str, status: int, code: str
) -> None:
    async with open_rig(tmp_path) as rig, rig.client() as client:
        headers = {"Content-Type": kind, **await rig.token("operator")}
        answer = await client.post(PATH, content=content, headers=headers)

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
