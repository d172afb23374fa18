"""Settings that write: who may, what they do, and that it is audited."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.router.api.rig import PASSWORD, Rig
from tests.router.dashboard.rig import csrf_of, signed_in


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        await signed_in(rig, client, "admin")
        yield client


async def sent(client: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    csrf = csrf_of((await client.get("/settings")).text)
    return await client.post(path, data={**form, "csrf": csrf})


async def test_a_user_is_added_changed_and_shut_out(rig: Rig, client: httpx.AsyncClient) -> None:
    who = "bob@example.org"
    added = await sent(client, "/settings/users", email=who, password=PASSWORD, role="operator")
    twice = await sent(client, "/settings/users", email=who, password=PASSWORD)
    short = await sent(client, "/settings/users", email="new@example.org", password="short")
    await sent(client, "/settings/users/change", email=who, role="viewer", state="off")
    unknown = await sent(client, "/settings/users/change", email="no@example.org", role="viewer")
    (bob,) = [one for one in await rig.services.access.accounts.users() if one.email == who]
    deeds = [one.did for one in await rig.services.access.accounts.deeds("default")]

    assert (added.status_code, added.headers["location"]) == (303, "/settings#users")
    assert [twice.status_code, short.status_code, unknown.status_code] == [409, 422, 404]
    assert bob.role == "viewer"
    assert bob.disabled_at is not None
    assert deeds == ["user.changed", "user.added"]


async def test_nobody_shuts_themselves_out(client: httpx.AsyncClient) -> None:
    me = "admin@example.org"
    shut = await sent(client, "/settings/users/change", email=me, state="off")
    smaller = await sent(client, "/settings/users/change", email=me, role="viewer")

    assert [shut.status_code, smaller.status_code] == [409, 409]
    assert (await client.get("/settings")).status_code == 200


async def test_a_token_is_shown_once_works_and_is_revoked(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    page = (await sent(client, "/settings/tokens", name="crm", role="viewer", days="7")).text
    secret = re.search(r"prt_[\w-]+", page)
    assert secret
    async with rig.client() as machine:
        headers = {"Authorization": f"Bearer {secret[0]}"}
        works = await machine.get("/api/me", headers=headers)
        (token,) = await rig.services.access.accounts.tokens("default")
        await sent(client, "/settings/tokens/revoke", id=token.id)
        ended = await machine.get("/api/me", headers=headers)

    assert secret[0] not in (await client.get("/settings")).text
    assert [works.status_code, ended.status_code] == [200, 401]


async def test_a_number_is_given_to_a_tenant_and_back(rig: Rig, client: httpx.AsyncClient) -> None:
    await sent(client, "/settings/numbers", number="+13125550100", tenant="north")
    page = (await client.get("/settings")).text
    theirs = rig.services.numbers.tenant_of("+13125550100")
    await sent(client, "/settings/numbers", number="+13125550100", tenant="")

    assert theirs == "north"
    assert rig.services.numbers.tenant_of("+13125550100") == "default"
    assert "north" in page
    assert "3125550100" not in page


async def test_a_form_without_the_token_of_the_page_changes_nothing(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    for path in ("users", "users/change", "tokens", "tokens/revoke", "numbers"):
        answer = await client.post(f"/settings/{path}", data={"csrf": "guessed", "name": "x"})
        assert answer.status_code == 403

    assert await rig.services.access.accounts.tokens() == []


async def test_a_viewer_chooses_language_and_time_zone_and_sees_no_more(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        chosen = await sent(
            client, "/language", language="de", zone="Asia/Kolkata", next="/settings"
        )
        page = (await client.get("/settings")).text
        await sent(client, "/language", zone="No/Such", next="/settings")
        still = (await client.get("/settings")).text
        await sent(client, "/language", zone="", next="/settings")
        browsers = (await client.get("/settings")).text

    assert chosen.headers["location"] == "/settings"
    assert '<html lang="de" data-zone="Asia/Kolkata">' in page
    assert 'data-zone="Asia/Kolkata"' in still
    assert "data-zone" not in browsers
    assert "RECORDS_DAYS" in page
    assert 'id="users"' not in page
