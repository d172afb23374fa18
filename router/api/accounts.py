"""Signing in, users, tokens and the audit."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from router.access import session_cookie
from router.api.endpoints import Ask
from router.errors import AccountRefused, RequestRefused
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


class DeedsShown(BaseModel):
    """The latest, newest first."""

    items: list[DeedShown]


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
    return JSONResponse({"items": [_user(one) for one in found]})


async def add_user(ask: Ask) -> Response:
    """Add a user to the tenant."""
    access, wanted = ask.services.access, ask.body
    try:
        hashed = await access.new_password(wanted.password)
        user = await access.accounts.add_user(wanted.email, hashed, wanted.role, ask.tenant)
    except AccountRefused as exc:
        raise _refused(exc) from None
    await access.accounts.note(_by(ask), "user.added", user.id)
    return JSONResponse(_user(user), 201)


async def change_user(ask: Ask) -> Response:
    """Change a user of the tenant; all their sessions end."""
    access, wanted = ask.services.access, ask.body
    try:
        hashed = None if wanted.password is None else await access.new_password(wanted.password)
        done = await access.accounts.change(
            ask.path("email"),
            tenant=ask.tenant,
            password_hash=hashed,
            role=wanted.role,
            disabled=wanted.disabled,
        )
    except AccountRefused as exc:
        raise _refused(exc) from None
    if not done:
        raise RequestRefused("no_such_user", status=404, fix="GET /api/users lists them")
    fields = ",".join(sorted(wanted.model_fields_set))
    await access.accounts.note(_by(ask), "user.changed", fields)
    return Response(status_code=204)


async def list_tokens(ask: Ask) -> Response:
    """List the tokens of the tenant."""
    found = await ask.services.access.accounts.tokens(ask.tenant)
    return JSONResponse({"items": [_token(one) for one in found]})


async def add_token(ask: Ask) -> Response:
    """Make a token; its secret is in this answer and nowhere else."""
    by, wanted, accounts = _by(ask), ask.body, ask.services.access.accounts
    for_s = None if wanted.days is None else wanted.days * 86_400
    token, secret = await accounts.add_token(
        wanted.name, wanted.role, by=by.who, tenant=ask.tenant, for_s=for_s
    )
    await accounts.note(by, "token.added", token.id)
    return JSONResponse({**_token(token), "secret": secret}, 201)


async def revoke_token(ask: Ask) -> Response:
    """End a token at once."""
    accounts = ask.services.access.accounts
    if not await accounts.revoke(ask.path("id"), ask.tenant):
        raise RequestRefused("no_such_token", status=404, fix="GET /api/tokens lists them")
    await accounts.note(_by(ask), "token.revoked", ask.path("id"))
    return Response(status_code=204)


async def list_deeds(ask: Ask) -> Response:
    """List who changed what, newest first."""
    found = await ask.services.access.accounts.deeds(ask.tenant)
    items = [
        {"at": one.at, "who": one.who, "did": one.did, "subject": one.subject} for one in found
    ]
    return JSONResponse({"items": items})


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
