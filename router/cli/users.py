"""`users …` and `tokens …`: who may use the API. They write to the database themselves."""

import getpass
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import CheckFailed, NotThere
from router.cli.kept import AsJson, settings_for, with_store
from router.errors import AccountRefused
from router.principals import DEFAULT_TENANT, ROLES, Role, role_of

if TYPE_CHECKING:
    from router.records.accounts import Accounts

T = TypeVar("T")

users_app = typer.Typer(help="Who signs in with a password.", no_args_is_help=True)
tokens_app = typer.Typer(help="Tokens of machines.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="The address that the user signs in with.")]
RoleOption = Annotated[str, typer.Option("--role", help="viewer, operator or admin.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose records they see.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]

_WHY = {
    "email_taken": "there is a user with this address; `users change` changes them",
    "email_invalid": "this is no address; write it as name@example.org",
    "password_too_short": "the password is too short; take 12 characters or more",
    "password_too_long": "the password is too long; take 256 characters at most",
}


@users_app.command("add")
def add_user(
    email: Email, role: RoleOption = "viewer", tenant: Tenant = DEFAULT_TENANT, dev: Dev = False
) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    wanted, password = _role(role), _password()

    async def add(accounts: "Accounts") -> None:
        await accounts.add_user(email, await _hashed(password), wanted, tenant)

    _with_accounts(add, dev)
    print(f"added: {email} may now sign in as {wanted}")


@users_app.command("list")
def list_users(as_json: AsJson = False, dev: Dev = False) -> None:
    """List all users."""
    found = _with_accounts(lambda accounts: accounts.users(), dev)
    if as_json:
        print(json.dumps([asdict(user) for user in found]))
        return
    if not found:
        print("there are none yet; `persona-router users add EMAIL --role admin`", file=sys.stderr)
    for user in found:
        off = "  disabled" if user.disabled_at else ""
        print(f"{user.email:<40} {user.role:<9} {user.tenant}{off}")


@users_app.command("change")
def change_user(
    email: Email,
    role: Annotated[str, typer.Option("--role", help="viewer, operator or admin.")] = "",
    password: Annotated[bool, typer.Option("--password", help="Ask for a new one.")] = False,
    disable: Annotated[bool, typer.Option("--disable", help="Let them in no more.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Let them in again.")] = False,
    dev: Dev = False,
) -> None:
    """Change a user; all their sessions end."""
    if disable and enable:
        raise typer.BadParameter("say --enable or --disable")
    wanted = _role(role) if role else None
    new = _password() if password else None

    async def change(accounts: "Accounts") -> bool:
        return await accounts.change(
            email,
            password_hash=None if new is None else await _hashed(new),
            role=wanted,
            disabled=disable if disable or enable else None,
        )

    if not _with_accounts(change, dev):
        raise NotThere("there is no such user; `persona-router users list` shows them")
    print("changed, and signed out everywhere")


@tokens_app.command("add")
def add_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: RoleOption = "viewer",
    tenant: Tenant = DEFAULT_TENANT,
    days: Annotated[float, typer.Option("--days", help="It ends then; 0: never.")] = 0,
    dev: Dev = False,
) -> None:
    """Make a token and print it, which nothing can do again."""
    wanted = _role(role)
    for_s = days * 86_400 if days > 0 else None
    _, secret = _with_accounts(
        lambda accounts: accounts.add_token(
            name, wanted, by="operator", tenant=tenant, for_s=for_s
        ),
        dev,
    )
    print(secret)


@tokens_app.command("list")
def list_tokens(as_json: AsJson = False, dev: Dev = False) -> None:
    """List all tokens."""
    found = _with_accounts(lambda accounts: accounts.tokens(), dev)
    if as_json:
        print(json.dumps([asdict(token) for token in found]))
        return
    if not found:
        print("there are none yet; `persona-router tokens add NAME`", file=sys.stderr)
    for token in found:
        state = "revoked" if token.revoked_at else _day(token.used_at, "last used ", "never used")
        print(f"{token.id}  {token.role:<9} {token.tenant:<16} {token.name:<30} {state}")


@tokens_app.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="Its id, as `tokens list` shows it.")],
    dev: Dev = False,
) -> None:
    """End a token at once."""
    if not _with_accounts(lambda accounts: accounts.revoke(token_id), dev):
        raise NotThere("there is no such token; `persona-router tokens list` shows them")
    print("revoked")


def _with_accounts(work: Callable[["Accounts"], Awaitable[T]], dev: bool) -> T:
    from router.records.accounts import Accounts

    try:
        return with_store(settings_for(dev), lambda store: work(Accounts(store, time.time)))
    except AccountRefused as exc:
        raise CheckFailed(_WHY[exc.reason]) from None


async def _hashed(password: str) -> str:
    from router.passwords import Passwords

    return await Passwords().hash(password)


def _role(value: str) -> Role:
    role = role_of(value)
    if role is None:
        raise typer.BadParameter(f"the role is one of {', '.join(ROLES)}")
    return role


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("password: ")
    if getpass.getpass("again: ") != first:
        raise CheckFailed("the two passwords differ")
    return first


def _day(at: float | None, before: str, otherwise: str) -> str:
    return otherwise if at is None else f"{before}{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
