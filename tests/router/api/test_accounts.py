"""Signing in and out, users and tokens over HTTP; who is let in without any of it."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from personas.tokens import call_token
from router.access import COOKIE, operator_token
from tests.router.api.rig import PASSWORD, Rig, open_rig
from tests.samples import SECRET

ANN = "ann@example.org"
JWT_SECRET = "made-up-jwt-secret-of-machine-clients"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, api_jwt_secret=JWT_SECRET) as rig:
        yield rig


async def test_a_user_signs_in_changes_something_and_signs_out(rig: Rig) -> None:
    await rig.user(ANN, "admin")
    async with rig.client() as client:
        entered = await client.post("/api/login", json={"email": ANN, "password": PASSWORD})
        csrf = {"X-CSRF-Token": entered.json()["csrf"]}
        me = await client.get("/api/me")
        new = {"name": "ci", "role": "operator"}
        made = await client.post("/api/tokens", json=new, headers=csrf)
        left = await client.post("/api/logout", headers=csrf)
        after = await client.get("/api/me")

    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    said = me.json()
    assert (said["name"], said["role"], said["tenant"]) == (ANN, "admin", "default")
    assert made.status_code == 201
    assert made.json()["secret"].startswith("prt_")
    assert left.status_code == 204
    assert after.status_code == 401


async def test_over_tls_the_cookie_is_bound_to_this_host(rig: Rig) -> None:
    await rig.user(ANN, "viewer")
    async with rig.client(base="https://router") as client:
        entered = await client.post("/api/login", json={"email": ANN, "password": PASSWORD})
        me = await client.get("/api/me")

    assert entered.headers["set-cookie"].startswith("__Host-persona_session=")
    assert "; Secure" in entered.headers["set-cookie"]
    assert me.status_code == 200


@pytest.mark.parametrize("email", [ANN, "nobody@example.org", "no address"])
async def test_a_wrong_password_and_an_unknown_address_look_the_same(rig: Rig, email: str) -> None:
    await rig.user(ANN, "admin")
    async with rig.client() as client:
        answer = await client.post("/api/login", json={"email": email, "password": "x" * 12})

    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_password")
    assert "set-cookie" not in answer.headers


async def test_the_sixth_try_in_a_quarter_of_an_hour_is_refused_even_when_right(rig: Rig) -> None:
    await rig.user(ANN, "admin")
    async with rig.client() as client:
        for _ in range(5):
            await client.post("/api/login", json={"email": ANN, "password": "wrong password"})
        answer = await client.post("/api/login", json={"email": ANN, "password": PASSWORD})

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many")
    assert int(answer.headers["retry-after"]) == 900


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "no_csrf_token"),
        ({"X-CSRF-Token": "guess"}, "no_csrf_token"),
        ({"Origin": "http://evil.example"}, "from_another_page"),
        ({"Sec-Fetch-Site": "cross-site"}, "from_another_page"),
        ({"Sec-Fetch-Site": "same-site"}, "from_another_page"),
    ],
)
async def test_a_change_by_another_page_is_refused(
    rig: Rig, headers: dict[str, str], code: str
) -> None:
    await rig.user(ANN, "admin")
    async with rig.client() as client:
        await client.post("/api/login", json={"email": ANN, "password": PASSWORD})
        answer = await client.post("/api/tokens", json={"name": "x"}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert await rig.services.access.accounts.tokens() == []


async def test_an_admin_adds_changes_and_disables_a_user_of_their_tenant(rig: Rig) -> None:
    north, south = await rig.token("admin", "north"), await rig.token("admin", "south")
    async with rig.client() as client:
        new = {"email": ANN, "password": PASSWORD, "role": "operator"}
        added = await client.post("/api/users", json=new, headers=north)
        again = await client.post("/api/users", json=new, headers=south)
        foreign = await client.patch(f"/api/users/{ANN}", json={"role": "admin"}, headers=south)
        off = await client.patch(f"/api/users/{ANN}", json={"disabled": True}, headers=north)
        entered = await client.post("/api/login", json={"email": ANN, "password": PASSWORD})
        seen = await client.get("/api/users", headers=south)
        deeds = await client.get("/api/audit", headers=north)

    assert (added.status_code, added.json()["tenant"]) == (201, "north")
    assert (again.status_code, again.json()["code"]) == (409, "email_taken")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "no_such_user")
    assert off.status_code == 204
    assert entered.status_code == 401
    assert seen.json() == {"items": []}
    assert [deed["did"] for deed in deeds.json()["items"]] == ["user.changed", "user.added"]


async def test_a_short_password_is_refused_with_what_to_do(rig: Rig) -> None:
    async with rig.client() as client:
        new = {"email": ANN, "password": "tiny-word"}
        answer = await client.post("/api/users", json=new, headers=await rig.token("admin"))

    assert (answer.status_code, answer.json()["code"]) == (422, "password_too_short")
    assert "12" in answer.json()["fix"]
    assert "tiny-word" not in answer.text


async def test_a_revoked_token_opens_nothing(rig: Rig) -> None:
    admin, other = await rig.token("admin"), await rig.token("viewer")
    foreign_admin = await rig.token("admin", "south")
    token_id = other["Authorization"].removeprefix("Bearer prt_").partition("_")[0]
    async with rig.client() as client:
        foreign = await client.delete(f"/api/tokens/{token_id}", headers=foreign_admin)
        done = await client.delete(f"/api/tokens/{token_id}", headers=admin)
        after = await client.get("/api/me", headers=other)

    assert foreign.status_code == 404
    assert done.status_code == 204
    assert after.status_code == 401


def bearer(token: str) -> str:
    return f"Bearer {token}"


def machine(**claims: Any) -> str:
    said = {"sub": "crm", "role": "operator", "tenant": "north", "exp": int(time.time()) + 60}
    return bearer(jwt.encode(said | claims, JWT_SECRET, algorithm="HS256"))


async def test_a_machines_jwt_says_who_it_is_and_what_it_may(rig: Rig) -> None:
    async with rig.client() as client:
        me = await client.get("/api/me", headers={"Authorization": machine()})

    assert me.json() == {"who": "jwt:crm", "name": "crm", "role": "operator", "tenant": "north"}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(lambda: machine(exp=int(time.time()) - 3600), id="expired"),
        pytest.param(lambda: machine(exp="soon"), id="no-time"),
        pytest.param(lambda: machine(role="root"), id="no-role"),
        pytest.param(lambda: bearer(jwt.encode({"sub": "x"}, JWT_SECRET)), id="no-exp"),
        pytest.param(lambda: bearer(jwt.encode({}, "", algorithm="none")), id="unsigned"),
        pytest.param(lambda: bearer(call_token("c", SECRET.decode(), time.time())), id="a-calls"),
        pytest.param(lambda: bearer(operator_token(SECRET.decode(), 1e9)), id="old-operator"),
        pytest.param(lambda: "Basic YTpi", id="basic"),
        pytest.param(lambda: "Bearer", id="empty"),
        pytest.param(lambda: "Bearer ä", id="not-ascii"),
    ],
)
async def test_a_token_that_proves_nothing_is_refused(rig: Rig, sent: Callable[[], str]) -> None:
    async with rig.client() as client:
        answer = await client.get("/api/me", headers={b"Authorization": sent().encode()})

    assert (answer.status_code, answer.json()["code"]) == (401, "bad_token")


async def test_commands_of_this_machine_prove_themselves_with_livekits_secret(rig: Rig) -> None:
    headers = {"Authorization": bearer(operator_token(SECRET.decode(), time.time()))}
    async with rig.client() as client:
        me = await client.get("/api/me", headers=headers)

    assert me.json()["who"] == "operator"


@pytest.mark.parametrize(
    ("settings", "sender", "header", "status"),
    [
        ({"router_dev": True}, ("127.0.0.1", "http://localhost:8080"), "", 200),
        ({"router_dev": True}, ("::1", "http://[::1]:8080"), "", 200),
        ({}, ("127.0.0.1", "http://localhost:8080"), "", 401),
        ({"router_dev": True}, ("192.0.2.7", "http://localhost"), "", 401),
        ({"router_dev": True}, ("127.0.0.1", "http://rebound.example"), "", 401),
        ({"router_dev": True}, ("127.0.0.1", "http://localhost"), "X-Forwarded-For", 401),
        ({"router_dev": True}, ("127.0.0.1", "http://localhost"), "Via", 401),
        ({"router_dev": True, "host": "10.0.0.7"}, ("127.0.0.1", "http://localhost"), "", 401),
    ],
)
async def test_only_in_development_on_this_machine_is_no_proof_needed(
    tmp_path: Path, settings: dict[str, Any], sender: tuple[str, str], header: str, status: int
) -> None:
    headers = {header: "x"} if header else {}
    async with open_rig(tmp_path, **settings) as rig, rig.client(*sender) as client:
        assert (await client.get("/api/me", headers=headers)).status_code == status


async def test_in_development_another_page_still_changes_nothing(tmp_path: Path) -> None:
    async with (
        open_rig(tmp_path, router_dev=True) as rig,
        rig.client("127.0.0.1", "http://localhost") as client,
    ):
        answer = await client.post(
            "/api/tokens", json={"name": "x"}, headers={"Origin": "http://evil.example"}
        )

    assert answer.json()["code"] == "from_another_page"


async def test_a_cookie_that_is_rubbish_is_nobodys(rig: Rig) -> None:
    async with rig.client() as client:
        for cookie in (f"{COOKIE}=x", "=;=;", f'{COOKIE}="\\', "\x80"):
            answer = await client.get("/api/me", headers={b"Cookie": cookie.encode("latin-1")})

            assert answer.status_code == 401


async def test_the_audit_comes_by_cursor_and_lists_of_admins_are_tables_too(rig: Rig) -> None:
    admin = await rig.token("admin")
    async with rig.client() as client:
        for name in ("one", "two", "three"):
            await client.post("/api/tokens", json={"name": name}, headers=admin)
        pages: list[list[str]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (
                await client.get("/api/audit", params={"limit": "2"} | cursor, headers=admin)
            ).json()
            pages.append([deed["did"] for deed in page["items"]])
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        bad = await client.get("/api/audit", params={"cursor": "x"}, headers=admin)
        tables = {
            path: (
                await client.get(path, params={"format": "csv"}, headers=admin)
            ).text.splitlines()
            for path in ("/api/audit", "/api/tokens", "/api/users")
        }

    assert pages == [["token.added"] * 2, ["token.added"]]
    assert (bad.status_code, bad.json()["code"]) == (422, "bad_cursor")
    assert tables["/api/audit"][0] == "at,who,did,subject"
    assert [len(rows) for rows in tables.values()] == [4, 5, 1]
