"""Every door of the router, tried by everybody: a new route fails here until it is decided."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
import pytest_asyncio

from router.api.endpoints import Endpoint
from router.api.stream import EVENTS
from router.api.table import ENDPOINTS
from router.app import API_PREFIXES, ROUTES
from router.dashboard.table import PAGES
from router.principals import ROLES, Role
from tests.router.api.rig import Rig, open_rig

#: Routes outside the table: who they let in is decided by themselves, and tested with them.
OPEN = {
    "/livekit-webhook": "LiveKit's signature",
    "/health": "anybody",
    "/healthz": "anybody",
    "/readyz": "anybody",
    "/metrics": "anybody who reaches the port",
    "/version": "anybody",
    "/openapi.json": "anybody",
    "/api/reports": "the token of a call",
    "/api/calls/{id}/tools/{name}": "the token of a call",
    "/assets/{name}": "anybody: style and scripts",
}


def ways(*, open_ones: bool) -> list[object]:
    return [
        pytest.param(one, id=f"{one.method} {one.path}")
        for one in (*ENDPOINTS, EVENTS)
        if open_ones or one.needs != "nothing"
    ]


def test_every_route_is_in_the_table_or_known_to_be_open() -> None:
    paths = {route.path for route in ROUTES}
    listed = {EVENTS.path} | {prefix + one.path for prefix in API_PREFIXES for one in ENDPOINTS}

    assert paths == listed | set(OPEN) | {page.path for page in PAGES}


def test_only_signing_in_and_a_language_need_nothing() -> None:
    assert [one.path for one in ENDPOINTS if one.needs == "nothing"] == ["/login"]
    assert {page.path for page in PAGES if page.needs == "nothing"} == {"/login", "/language"}


def url(one: Endpoint) -> str:
    if one is EVENTS:
        return "/events?follow=false"
    return "/api" + re.sub(r"\{\w+\}", "x", one.path)


@dataclass(frozen=True, slots=True)
class House:
    """One router for all doors: what is behind none of them hinders who tries the next."""

    rig: Rig
    headers: Mapping[Role, Mapping[str, str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_rig(tmp_path_factory.mktemp("doors")) as rig:
        yield House(rig, {role: await rig.token(role) for role in ROLES})


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("one", ways(open_ones=False))
async def test_a_stranger_is_not_let_in(house: House, one: Endpoint) -> None:
    async with house.rig.client() as client:
        answer = await client.request(one.method, url(one), json={})
        forged = await client.request(
            one.method, url(one), json={}, headers={"Authorization": "Bearer prt_0_0"}
        )

    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in")
    assert (forged.status_code, forged.json()["code"]) == (401, "bad_token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("one", ways(open_ones=True))
async def test_a_role_opens_what_it_is_for_and_nothing_more(house: House, one: Endpoint) -> None:
    ranks: tuple[str, ...] = ("nothing", *ROLES)
    for role, headers in house.headers.items():
        async with house.rig.client() as client:
            answer = await client.request(one.method, url(one), json={}, headers=headers)

        enough = ranks.index(one.needs) <= ranks.index(role)
        assert (answer.status_code == 403) is not enough
        assert answer.status_code < 500
        assert enough or answer.json()["code"] == "role_too_small"


async def test_every_answer_carries_the_headers_that_keep_a_browser_safe(rig: Rig) -> None:
    async with rig.client() as client:
        for path in (
            "/health",
            "/metrics",
            "/openapi.json",
            "/api/me",
            "/nowhere",
            "/login",
            "/calls",
        ):
            headers = (await client.get(path)).headers

            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe-inline" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"
