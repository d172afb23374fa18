"""Requests that nobody thought of, made from the OpenAPI document: no 5xx, and no way around."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from router.api.openapi import document
from router.api.table import ENDPOINTS
from router.app import build_app
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit
from tests.fakes_personas import until
from tests.router.api.rig import operator_headers
from tests.samples import KEY, SECRET

DOCUMENT = document([one for one in ENDPOINTS if one.path != "/login"], "/api")
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server in a thread: the requests come from a client of the library's own."""
    started: threading.Event = threading.Event()
    found: list[tuple[str, uvicorn.Server]] = []

    async def serve(folder: Path) -> None:
        async with FakeLiveKit() as livekit:
            app = build_app(
                RouterSettings.load(
                    livekit_url=livekit.url,
                    livekit_api_key=KEY,
                    livekit_api_secret=SECRET.decode(),
                    persona_api_base="off",
                    state_dir=folder,
                )
            )
            server = uvicorn.Server(
                uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on")
            )
            serving = asyncio.create_task(server.serve())
            await until(lambda: server.started or serving.done())
            port = server.servers[0].sockets[0].getsockname()[1]
            found.append((f"http://127.0.0.1:{port}", server))
            started.set()
            await serving

    thread = threading.Thread(target=asyncio.run, args=(serve(tmp_path_factory.mktemp("any")),))
    thread.start()
    assert started.wait(20)
    yield found[0][0]
    found[0][1].should_exit = True
    thread.join(20)


# schemathesis' own strategies draw from `random`, which hypothesis does not like to see
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@SCHEMA.parametrize()
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
def test_no_request_is_a_server_error_or_gets_around_the_guard(
    case: schemathesis.Case[Any], address: str
) -> None:
    stranger = case.call(base_url=address, headers={})
    known = case.call(base_url=address, headers=operator_headers())

    assert stranger.status_code in (401, 404, 405)
    case.validate_response(known, checks=[not_a_server_error])
