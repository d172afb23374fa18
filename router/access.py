"""Who asks: a session of a browser, a machine's token, a JWT, this machine's operator, or nobody.

It proves identity and holds the rate limits; what each route needs stands in the routes' table.
"""

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

import jwt
from limits import RateLimitItem, RateLimitItemPerMinute, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from personas.tokens import sign
from router.errors import AccessRefused, TokenRefused
from router.passwords import Passwords
from router.principals import DEFAULT_TENANT, Needs, Principal, role_of, tenant_of
from router.records.accounts import SESSION_S, TOKEN_PREFIX, Accounts
from router.tokens import read

OPERATOR_ISSUER: Final = "persona-router-operator"
OPERATOR_TOKEN_S: Final = 120.0  # a command of ours makes one for each request
LEEWAY_S: Final = 60.0
COOKIE: Final = "persona_session"
SECURE_COOKIE: Final = "__Host-persona_session"  # the browser takes it over TLS alone
CSRF_HEADER: Final = "x-csrf-token"
LOGINS: Final = parse("5 per 15 minutes")
LOGINS_OF_ADDRESS: Final = parse("30 per 15 minutes")  # a whole office may share one
PASSED_ON: Final = ("forwarded", "x-forwarded-for", "via")

SIGN_IN: Final = (
    "sign in, or send `Authorization: Bearer <token>`; `persona-router tokens add` makes one"
)


class Access:
    """Finds out who sends a request. *clock* gives Unix seconds."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        clock: Callable[[], float],
        livekit_secret: str,
        jwt_secret: str = "",
        open_here: bool = False,
        redis_url: str = "",
    ) -> None:
        self.accounts = accounts
        self._passwords = Passwords()
        self._clock = clock
        self._operator_keys = {OPERATOR_ISSUER: operator_key(livekit_secret)}
        self._jwt_secret = jwt_secret
        self._open_here = open_here
        self._limiter = MovingWindowRateLimiter(_storage(redis_url))
        self._spare_limiter = MovingWindowRateLimiter(MemoryStorage())

    async def who(self, headers: Mapping[str, str], peer: str) -> Principal | None:
        """Find who sends a request with *headers* from address *peer*; None: they did not say.

        Raises:
            AccessRefused: 401, they said, and it is not true.
            StoreUnavailable: the database did not answer.
        """
        authorization = headers.get("authorization")
        if authorization is not None:
            return await self._bearer(authorization)
        secret = session_secret(headers.get("cookie", ""))
        if secret and (principal := await self.accounts.by_session(secret)):
            return principal
        if self._open_here and _is_here(headers, peer):
            return Principal(who="dev", tenant=DEFAULT_TENANT, role="admin", name="dev")
        return None

    async def _bearer(self, authorization: str) -> Principal:
        kind, _, token = authorization.strip().partition(" ")
        token = token.strip()
        found = None
        if kind.lower() == "bearer" and token.startswith(TOKEN_PREFIX):
            found = await self.accounts.by_token(token)
        elif kind.lower() == "bearer" and token:
            found = self._operator(token) or self._machine(token)
        if found is None:
            raise AccessRefused("bad_token", status=401, fix=SIGN_IN)
        return found

    def _operator(self, token: str) -> Principal | None:
        try:
            claims = read(token, self._operator_keys, self._clock(), leeway_s=LEEWAY_S)
        except TokenRefused:
            return None
        tenant = tenant_of(claims.get("tenant", DEFAULT_TENANT))
        if tenant is None:
            return None
        return Principal(who="operator", tenant=tenant, role="admin", name="operator")

    def _machine(self, token: str) -> Principal | None:
        if not self._jwt_secret:
            return None
        try:
            claims = jwt.decode(
                token,
                self._jwt_secret,
                algorithms=["HS256"],
                leeway=LEEWAY_S,
                options={
                    "require": ["exp", "sub"],
                    "verify_exp": False,  # by our clock, below
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except (jwt.PyJWTError, ValueError):
            return None
        role, expires = role_of(claims.get("role")), claims["exp"]
        tenant = tenant_of(claims.get("tenant") or DEFAULT_TENANT)
        if role is None or tenant is None:
            return None
        if not isinstance(expires, int) or expires + LEEWAY_S < self._clock():
            return None
        return Principal(
            who=f"jwt:{claims['sub']}"[:100],
            tenant=tenant,
            role=role,
            name=str(claims["sub"])[:100],
        )

    async def sign_in(self, email: str, password: str, peer: str) -> str:
        """Check a password; return the secret of a new session.

        Raises:
            AccessRefused: 401, or 429 after too many tries.
            StoreUnavailable: the database did not answer.
        """
        name = email.strip().lower()[:254]
        for item, key in ((LOGINS, f"login {name} {peer}"), (LOGINS_OF_ADDRESS, f"login {peer}")):
            await self._limited(item, key)
        known = await self.accounts.credentials(email)
        right = await self._passwords.matches(password, known.password if known else None)
        if known is None or not right:
            raise AccessRefused("wrong_password", status=401, fix="check address and password")
        return await self.accounts.open_session(known.user)

    async def sign_out(self, cookie: str) -> None:
        """End the session of this Cookie header, if there is one."""
        if secret := session_secret(cookie):
            await self.accounts.close_session(secret)

    async def new_password(self, password: str) -> str:
        """Hash a password that somebody wants to have; raises AccountRefused."""
        return await self._passwords.hash(password)

    async def limit(self, what: str, per_minute: int, principal: Principal) -> None:
        """Count one *what* by *principal*.

        Raises:
            AccessRefused: 429, there were more than *per_minute*.
        """
        await self._limited(RateLimitItemPerMinute(per_minute), f"{what} {principal.who}")

    async def _limited(self, item: RateLimitItem, key: str) -> None:
        try:
            held = await self._limiter.hit(item, key)
        except (StorageError, OSError):  # Redis is away: count here
            held = await self._spare_limiter.hit(item, key)
        if not held:
            wait_s = item.get_expiry()
            fix = f"wait up to {wait_s // 60} min, then try again"
            raise AccessRefused("too_many", status=429, fix=fix, retry_after_s=wait_s)


def _storage(redis_url: str) -> Storage:
    """Count in Redis, where there is one: then the limits hold for all replicas together."""
    if not redis_url:
        return MemoryStorage()
    return RedisStorage(f"async+{redis_url}", wrap_exceptions=True, implementation="redispy")


def permit(principal: Principal | None, needs: Needs) -> None:
    """Raise AccessRefused (401 or 403) unless *principal* may do what needs this role."""
    if needs == "nothing":
        return
    if principal is None:
        raise AccessRefused("sign_in", status=401, fix=SIGN_IN)
    if not principal.may(needs):
        fix = f"it needs the role {needs}, and yours is {principal.role}; ask an admin"
        raise AccessRefused("role_too_small", status=403, fix=fix)


def meant(
    principal: Principal | None, headers: Mapping[str, str], sent_csrf: str | None = None
) -> None:
    """Raise AccessRefused (403) when a change may come from another page than ours.

    Requests that bring a token along are meant: no page can make a browser do that. A session's
    must bring its CSRF token, in the header or (*sent_csrf*) in the form.
    """
    fix = "send it from the dashboard itself, or with a token"
    if "authorization" in headers:
        return
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise AccessRefused("from_another_page", status=403, fix=fix)
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise AccessRefused("from_another_page", status=403, fix=fix)
    if principal is None or principal.csrf is None:
        return
    sent = headers.get(CSRF_HEADER) or sent_csrf or ""
    if not hmac.compare_digest(sent.encode(), principal.csrf.encode()):
        raise AccessRefused("no_csrf_token", status=403, fix="reload the page and try again")


def operator_token(livekit_secret: str, now: float, tenant: str = DEFAULT_TENANT) -> str:
    """Return a token for a command of ours, which has LiveKit's secret as the router does."""
    times = {"nbf": int(now), "exp": int(now + OPERATOR_TOKEN_S)}
    claims = {"iss": OPERATOR_ISSUER, "tenant": tenant, **times}
    return sign(claims, operator_key(livekit_secret))


@lru_cache(maxsize=8)
def operator_key(livekit_secret: str) -> bytes:
    """Return the key of operators' tokens: no token of LiveKit's or of a call is one of them."""
    return hmac.digest(livekit_secret.encode(), b"persona-router/operator-token/1", "sha256")


def session_cookie(secret: str, *, secure: bool) -> str:
    """Return the Set-Cookie header that keeps a session; an empty *secret* removes it."""
    name = SECURE_COOKIE if secure else COOKIE
    for_s = int(SESSION_S) if secret else 0
    tail = "; Secure" if secure else ""
    return f"{name}={secret}; Path=/; Max-Age={for_s}; HttpOnly; SameSite=Lax{tail}"


def session_secret(cookie: str) -> str:
    """Read a session's secret from a Cookie header; empty: there is none."""
    try:
        found = SimpleCookie(cookie)
    except CookieError:
        return ""
    for name in (SECURE_COOKIE, COOKIE):
        if name in found:
            return found[name].value
    return ""


def _is_here(headers: Mapping[str, str], peer: str) -> bool:
    """Whether a request comes from this machine and is meant for it, and for no proxy on it.

    The Host header must name this machine too: a page elsewhere can make its own name lead here.
    """
    if any(name in headers for name in PASSED_ON):
        return False
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    return is_loopback(peer) and is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine and no other."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
