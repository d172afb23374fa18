"""Signing in, users, tokens and the audit."""

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from router.access import session_cookie
from router.api.calls import Cursor, Limit, as_page, bad_cursor
from router.api.endpoints import Ask, Asking, AsTable, note, whole_list
from router.errors import AccountRefused, BadCursor, RequestRefused
from router.principals import Principal, Role
from router.records.accounts import Token, User

_WHY = {
    "email_taken": (409, "there is a user with this address; change that one"),
    "email_invalid": (422, "write it as name@example.org"),
    "password_too_short": (422, "take 12 characters or more"),
    "password_too_long": (422, "take 256 characters at most"),
}
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)
Text = Annotated[str, Field(min_length=1, max_length=256)]


class SignIn(BaseModel):
    """Who signs in."""

    model_config = _STRICT
    email: Text
    password: Text


class SignedIn(BaseModel):
    """What a page has to send along with changes, as ``X-CSRF-Token``."""

    csrf: str


class Me(BaseModel):
    """Who asks."""

    who: str
    name: str
    role: Role
    tenant: str


class UserShown(BaseModel):
    """A user."""

    email: str
    role: Role
    tenant: str
    created_at: float = Field(description="Unix seconds")
    disabled_at: float | None


class UsersShown(BaseModel):
    """All users of the tenant."""

    items: list[UserShown]


class NewUser(BaseModel):
    """A user to add."""

    model_config = _STRICT
    email: Text
    password: Text
    role: Role = "viewer"


class ChangedUser(BaseModel):
    """What is to change; what is left out stays."""

    model_config = _STRICT
    password: Text | None = None
    role: Role | None = None
    disabled: bool | None = None


class TokenShown(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    role: Role
    created_at: float
    created_by: str
    used_at: float | None
    expires_at: float | None
    revoked_at: float | None


class TokensShown(BaseModel):
    """All tokens of the tenant."""

    items: list[TokenShown]


class NewToken(BaseModel):
    """A token to make."""

    model_config = _STRICT
    name: Annotated[str, Field(min_length=1, max_length=100)]
    role: Role = "viewer"
    days: Annotated[float | None, Field(gt=0, le=3660)] = None


class TokenMade(TokenShown):
    """A token with its secret, which is not shown again."""

    secret: str


class DeedShown(BaseModel):
    """Who did what."""

    at: float
    who: str
    did: str
    subject: str


class WhichDeeds(AsTable):
    """Which part of the audit."""

    cursor: Cursor = None
    limit: Limit = 100


class DeedsShown(BaseModel):
    """A page of the audit, the newest first."""

    items: list[DeedShown]
    next: str | None = Field(description="cursor of the next page")


async def sign_in(ask: Ask) -> Response:
    """Start a session; the cookie is not readable by scripts."""
    request, access = ask.request, ask.services.access
    peer = request.client.host if request.client else ""
    secret = await access.sign_in(ask.body.email, ask.body.password, peer)
    principal = await access.accounts.by_session(secret)
    secure = request.url.scheme == "https"
    answer = JSONResponse({"csrf": principal.csrf if principal else None})
    answer.headers["set-cookie"] = session_cookie(secret, secure=secure)
    return answer


async def sign_out(ask: Ask) -> Response:
    """End the session."""
    request = ask.request
    await ask.services.access.sign_out(request.headers.get("cookie", ""))
    answer = Response(status_code=204)
    answer.headers["set-cookie"] = session_cookie("", secure=request.url.scheme == "https")
    return answer


async def me(ask: Ask) -> Response:
    """Say who asks."""
    by = _by(ask)
    return JSONResponse({"who": by.who, "name": by.name, "role": by.role, "tenant": by.tenant})


async def list_users(ask: Ask) -> Response:
    """List the users of the tenant."""
    found = await ask.services.access.accounts.users(ask.tenant)
    return whole_list(ask, [_user(one) for one in found], UserShown.model_fields)


async def add_user(ask: Ask) -> Response:
    """Add a user to the tenant."""
    return JSONResponse(_user(await new_user(ask, ask.body)), 201)


async def new_user(ask: Asking, wanted: NewUser) -> User:
    """Add a user to the tenant; raises RequestRefused."""
    access = ask.services.access
    try:
        hashed = await access.new_password(wanted.password)
        user = await access.accounts.add_user(wanted.email, hashed, wanted.role, ask.tenant)
    except AccountRefused as exc:
        raise _refused(exc) from None
    await note(ask, "user.added", user.id)
    return user


async def change_user(ask: Ask) -> Response:
    """Change a user of the tenant; all their sessions end."""
    await changed_user(ask, ask.path("email"), ask.body)
    return Response(status_code=204)


async def changed_user(ask: Asking, email: str, wanted: ChangedUser) -> None:
    """Change a user of the tenant, but nobody shuts themselves out; raises RequestRefused."""
    access, by = ask.services.access, ask.principal
    if by is not None and by.name == email.strip().lower() and (wanted.disabled or wanted.role):
        fix = "nobody changes their own role or shuts themselves out; ask another admin"
        raise RequestRefused("yourself", status=409, fix=fix)
    try:
        hashed = None if wanted.password is None else await access.new_password(wanted.password)
        done = await access.accounts.change(
            email,
            tenant=ask.tenant,
            password_hash=hashed,
            role=wanted.role,
            disabled=wanted.disabled,
        )
    except AccountRefused as exc:
        raise _refused(exc) from None
    if not done:
        raise RequestRefused("no_such_user", status=404, fix="GET /api/users lists them")
    await note(ask, "user.changed", ",".join(sorted(wanted.model_fields_set)))


async def list_tokens(ask: Ask) -> Response:
    """List the tokens of the tenant."""
    found = await ask.services.access.accounts.tokens(ask.tenant)
    return whole_list(ask, [_token(one) for one in found], TokenShown.model_fields)


async def add_token(ask: Ask) -> Response:
    """Make a token; its secret is in this answer and nowhere else."""
    token, secret = await new_token(ask, ask.body)
    return JSONResponse({**_token(token), "secret": secret}, 201)


async def new_token(ask: Asking, wanted: NewToken) -> tuple[Token, str]:
    """Make a token of the tenant; return it and its secret, which cannot be had again."""
    by = ask.principal.who if ask.principal else ""
    for_s = None if wanted.days is None else wanted.days * 86_400
    made = await ask.services.access.accounts.add_token(
        wanted.name, wanted.role, by=by, tenant=ask.tenant, for_s=for_s
    )
    await note(ask, "token.added", made[0].id)
    return made


async def revoke_token(ask: Ask) -> Response:
    """End a token at once."""
    await end_token(ask, ask.path("id"))
    return Response(status_code=204)


async def end_token(ask: Asking, token_id: str) -> None:
    """End a token of the tenant; raises RequestRefused (404)."""
    if not await ask.services.access.accounts.revoke(token_id, ask.tenant):
        raise RequestRefused("no_such_token", status=404, fix="GET /api/tokens lists them")
    await note(ask, "token.revoked", token_id)


async def list_deeds(ask: Ask) -> Response:
    """List who changed what, newest first."""
    accounts, asked = ask.services.access.accounts, ask.query
    try:
        page = await accounts.deeds_page(ask.tenant, asked.cursor, asked.limit)
    except BadCursor:
        raise bad_cursor() from None
    return as_page(ask, [asdict(one) for one in page.rows], page.next, DeedShown.model_fields)


def _by(ask: Ask) -> Principal:
    if ask.principal is None:
        raise TypeError("this handler belongs to a route that needs a role")
    return ask.principal


def _refused(exc: AccountRefused) -> RequestRefused:
    status, fix = _WHY[exc.reason]
    return RequestRefused(exc.reason, status=status, fix=fix)


def _user(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in UserShown.model_fields}


def _token(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in TokenShown.model_fields}
