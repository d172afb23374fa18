"""Users, sessions, tokens and the audit, on each database."""

import asyncio

import pytest
import sqlalchemy as sa

from router.db import Store
from router.errors import AccountRefused
from router.principals import Principal
from router.records.accounts import SESSION_S, Accounts, normalised
from tests.fakes_personas import FakeClock

HASHED = "argon2id-of-something"


@pytest.fixture
def accounts(store: Store, clock: FakeClock) -> Accounts:
    return Accounts(store, clock)


async def test_a_user_is_found_by_an_address_in_any_case(accounts: Accounts) -> None:
    await accounts.add_user(" Ann@Example.ORG", HASHED, "operator")

    found = await accounts.credentials("ann@example.org ")

    assert found is not None
    assert (found.user.role, found.password) == ("operator", HASHED)
    assert [user.email for user in await accounts.users()] == ["ann@example.org"]


async def test_an_address_is_taken_once_even_by_two_at_once(accounts: Accounts) -> None:
    answers = await asyncio.gather(
        *(accounts.add_user("ann@example.org", HASHED, "viewer") for _ in range(2)),
        return_exceptions=True,
    )

    assert len(await accounts.users()) == 1
    assert sum(isinstance(answer, Exception) for answer in answers) == 1


@pytest.mark.parametrize(
    "email", ["", "ann", "@example.org", "ann@", "a b@c.d", "a\n@b.c", "a" * 300]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(AccountRefused, match="email_invalid"):
        normalised(email)


async def test_a_session_ends_by_itself(accounts: Accounts, clock: FakeClock) -> None:
    user = await accounts.add_user("ann@example.org", HASHED, "admin")
    secret = await accounts.open_session(user)
    principal = await accounts.by_session(secret)

    clock.advance(SESSION_S)

    assert principal is not None
    assert (principal.role, principal.name) == ("admin", "ann@example.org")
    assert principal.csrf
    assert await accounts.by_session(secret) is None


@pytest.mark.parametrize(
    "change", [{"password_hash": "new"}, {"role": "viewer"}, {"disabled": True}]
)
async def test_a_change_ends_all_sessions(accounts: Accounts, change: dict[str, object]) -> None:
    user = await accounts.add_user("ann@example.org", HASHED, "admin")
    secrets = [await accounts.open_session(user) for _ in range(2)]

    assert await accounts.change("ann@example.org", **change)  # type: ignore[arg-type]

    assert [await accounts.by_session(secret) for secret in secrets] == [None, None]


async def test_who_is_disabled_cannot_sign_in_until_enabled(accounts: Accounts) -> None:
    await accounts.add_user("ann@example.org", HASHED, "admin")

    await accounts.change("ann@example.org", disabled=True)
    assert await accounts.credentials("ann@example.org") is None

    await accounts.change("ann@example.org", disabled=False)
    assert await accounts.credentials("ann@example.org") is not None


async def test_a_user_of_another_tenant_is_not_changed(accounts: Accounts) -> None:
    await accounts.add_user("ann@example.org", HASHED, "admin", "north")

    assert not await accounts.change("ann@example.org", tenant="south", role="viewer")

    (user,) = await accounts.users("north")
    assert user.role == "admin"
    assert await accounts.users("south") == []


async def test_a_token_is_shown_once_and_stored_as_a_hash(accounts: Accounts, store: Store) -> None:
    token, shown = await accounts.add_token("ci", "operator", by="user:1")

    principal = await accounts.by_token(shown)

    assert principal is not None
    assert (principal.who, principal.role) == (f"token:{token.id}", "operator")
    stored = await store.read(lambda c: c.execute(sa.text("SELECT * FROM tokens")).all())
    assert shown.partition("_")[2] not in str(stored)


async def test_a_wrong_revoked_or_old_token_is_nobodys(
    accounts: Accounts, clock: FakeClock
) -> None:
    token, shown = await accounts.add_token("ci", "viewer", by="user:1", tenant="north", for_s=60)

    assert await accounts.by_token(shown[:-1]) is None
    assert await accounts.by_token(shown + "x") is None
    assert await accounts.by_token("prt_") is None
    assert await accounts.by_token(shown) is not None
    assert not await accounts.revoke(token.id, "south")
    assert await accounts.by_token(shown) is not None
    assert await accounts.revoke(token.id, "north")
    assert await accounts.by_token(shown) is None
    _, second = await accounts.add_token("ci", "viewer", by="user:1", for_s=60)
    clock.advance(60)
    assert await accounts.by_token(second) is None


async def test_the_audit_says_who_did_what_newest_first(
    accounts: Accounts, clock: FakeClock
) -> None:
    by = Principal(who="user:1", tenant="north", role="admin")
    await accounts.note(by, "user.added", "2")
    clock.advance(1)
    await accounts.note(by, "token.revoked", "3")

    assert [deed.did for deed in await accounts.deeds("north")] == ["token.revoked", "user.added"]
    assert await accounts.deeds("south") == []
