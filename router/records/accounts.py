"""Users, their sessions, tokens of machines, and who did what. Secrets are kept as hashes."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from router.db import Store, metadata
from router.errors import AccountRefused
from router.principals import DEFAULT_TENANT, Principal, Role, role_of
from router.records.pages import Page, page_of

SESSION_S: Final = 12 * 3600.0
SEEN_EVERY_S: Final = 60.0  # how exact "last used" is; a write for each request would cost more
TOKEN_PREFIX: Final = "prt_"  # noqa: S105 - so that scanners for leaked secrets know ours
MAX_EMAIL_CHARS: Final = 254

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("email", sa.String(MAX_EMAIL_CHARS), nullable=False, unique=True),
    sa.Column("password", sa.String(256), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("disabled_at", sa.Float),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.String(32), nullable=False, index=True),
    sa.Column("csrf", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("secret", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("created_by", sa.String(100), nullable=False),
    sa.Column("used_at", sa.Float),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
)
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("did", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who signs in with a password."""

    id: str
    tenant: str
    email: str
    role: Role
    created_at: float  # Unix seconds
    disabled_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A machine's proof; its secret is shown once, when it is made."""

    id: str
    tenant: str
    name: str
    role: Role
    created_at: float
    created_by: str
    used_at: float | None = None
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A line of the audit: who did what to whom or what."""

    at: float
    who: str
    did: str
    subject: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signing in compares."""

    user: User
    password: str  # argon2id, encoded


class Accounts:
    """All of them in one database. *clock* gives Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    # ---- users --------------------------------------------------------------------------------

    async def add_user(
        self, email: str, password_hash: str, role: Role, tenant: str = DEFAULT_TENANT
    ) -> User:
        """Add a user.

        Raises:
            AccountRefused: ``email_taken`` or ``email_invalid``.
            StoreUnavailable: the database did not answer.
        """
        address = normalised(email)
        user = User(
            id=secrets.token_hex(8),
            tenant=tenant,
            email=address,
            role=role,
            created_at=self._clock(),
        )
        row = {**_columns(user), "password": password_hash}

        def insert(connection: sa.Connection) -> bool:
            taken = connection.scalar(sa.select(users.c.id).where(users.c.email == address))
            if taken is None:
                connection.execute(sa.insert(users), row)
            return taken is None

        if not await self._store.write(insert):
            raise AccountRefused("email_taken")
        return user

    async def users(self, tenant: str | None = None) -> Sequence[User]:
        """List the users, of one tenant or of all, by address."""
        query = sa.select(users).order_by(users.c.email)
        if tenant is not None:
            query = query.where(users.c.tenant == tenant)
        return [_user(row) for row in await self._store.read(lambda c: c.execute(query).all())]

    async def credentials(self, email: str) -> Credentials | None:
        """Find what a user who may sign in signs in with."""
        try:
            address = normalised(email)
        except AccountRefused:
            return None
        query = sa.select(users).where(users.c.email == address, users.c.disabled_at.is_(None))
        row = await self._store.read(lambda c: c.execute(query).first())
        return None if row is None else Credentials(_user(row), row.password)

    async def change(
        self,
        email: str,
        *,
        tenant: str | None = None,
        password_hash: str | None = None,
        role: Role | None = None,
        disabled: bool | None = None,
    ) -> bool:
        """Change what is given, and end all sessions of the user, who then signs in anew.

        False: there is no such user (in *tenant*).
        """
        values: dict[str, Any] = {}
        if password_hash is not None:
            values["password"] = password_hash
        if role is not None:
            values["role"] = role
        if disabled is not None:
            values["disabled_at"] = self._clock() if disabled else None
        who = users.c.email == normalised(email)
        if tenant is not None:
            who &= users.c.tenant == tenant

        def change(connection: sa.Connection) -> bool:
            found = connection.scalar(sa.select(users.c.id).where(who))
            if found is None:
                return False
            connection.execute(sa.update(users).where(users.c.id == found).values(values))
            connection.execute(sa.delete(sessions).where(sessions.c.user_id == found))
            return True

        return await self._store.write(change)

    # ---- sessions -----------------------------------------------------------------------------

    async def open_session(self, user: User) -> str:
        """Sign *user* in; return the secret that the browser keeps."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        row = {
            "id": _hash(secret),
            "user_id": user.id,
            "csrf": secrets.token_urlsafe(32),
            "created_at": now,
            "expires_at": now + SESSION_S,
        }

        def insert(connection: sa.Connection) -> None:
            connection.execute(sa.delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(sa.insert(sessions), row)

        await self._store.write(insert)
        return secret

    async def by_session(self, secret: str) -> Principal | None:
        """Find who holds this session; None: it is over, or there was none."""
        query = (
            sa.select(users, sessions.c.csrf)
            .join(sessions, sessions.c.user_id == users.c.id)
            .where(
                sessions.c.id == _hash(secret),
                sessions.c.expires_at > self._clock(),
                users.c.disabled_at.is_(None),
            )
        )
        row = await self._store.read(lambda c: c.execute(query).first())
        if row is None:
            return None
        user = _user(row)
        return Principal(
            who=f"user:{user.id}",
            tenant=user.tenant,
            role=user.role,
            name=user.email,
            csrf=row.csrf,
        )

    async def close_session(self, secret: str) -> None:
        """Sign out; harmless when the session is over already."""
        over = sa.delete(sessions).where(sessions.c.id == _hash(secret))
        await self._store.write(lambda c: c.execute(over))

    # ---- tokens -------------------------------------------------------------------------------

    async def add_token(
        self,
        name: str,
        role: Role,
        *,
        by: str,
        tenant: str = DEFAULT_TENANT,
        for_s: float | None = None,
    ) -> tuple[Token, str]:
        """Make a token; return it, and its secret, which cannot be shown again."""
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        token = Token(
            id=secrets.token_hex(6),
            tenant=tenant,
            name=name.strip()[:100] or "unnamed",
            role=role,
            created_at=now,
            created_by=by,
            expires_at=None if for_s is None else now + for_s,
        )
        row = {**_columns(token), "secret": _hash(secret)}
        await self._store.write(lambda c: c.execute(sa.insert(tokens), row))
        return token, f"{TOKEN_PREFIX}{token.id}_{secret}"

    async def by_token(self, shown: str) -> Principal | None:
        """Find whose token *shown* is; None: it is wrong, over or revoked."""
        token_id, _, secret = shown.removeprefix(TOKEN_PREFIX).partition("_")
        now = self._clock()
        query = sa.select(tokens).where(
            tokens.c.id == token_id,
            tokens.c.revoked_at.is_(None),
            tokens.c.expires_at.is_(None) | (tokens.c.expires_at > now),
        )
        row = await self._store.read(lambda c: c.execute(query).first())
        if row is None or not secrets.compare_digest(row.secret, _hash(secret)):
            return None
        if row.used_at is None or now - row.used_at > SEEN_EVERY_S:
            seen = sa.update(tokens).where(tokens.c.id == token_id).values(used_at=now)
            self._store.write_soon(lambda c: c.execute(seen), lambda _: None)
        token = _token(row)
        return Principal(
            who=f"token:{token.id}", tenant=token.tenant, role=token.role, name=token.name
        )

    async def tokens(self, tenant: str | None = None) -> Sequence[Token]:
        """List the tokens, of one tenant or of all, newest first."""
        query = sa.select(tokens).order_by(tokens.c.created_at.desc())
        if tenant is not None:
            query = query.where(tokens.c.tenant == tenant)
        return [_token(row) for row in await self._store.read(lambda c: c.execute(query).all())]

    async def revoke(self, token_id: str, tenant: str | None = None) -> bool:
        """End a token at once; False: there is none of that id (in that tenant)."""
        over = sa.update(tokens).where(tokens.c.id == token_id).values(revoked_at=self._clock())
        if tenant is not None:
            over = over.where(tokens.c.tenant == tenant)
        return await self._store.write(lambda c: c.execute(over).rowcount) == 1

    # ---- audit --------------------------------------------------------------------------------

    async def note(self, by: Principal, did: str, subject: str) -> None:
        """Keep who did what: *did* is a stable word, *subject* an id and never a number."""
        row = {
            "at": self._clock(),
            "tenant": by.tenant,
            "who": by.who[:100],
            "did": did,
            "subject": subject[:200],
        }
        await self._store.write(lambda c: c.execute(sa.insert(audit), row))

    async def deeds(self, tenant: str, last: int = 100) -> Sequence[Deed]:
        """List what was done last in a tenant, newest first."""
        return list((await self.deeds_page(tenant, None, last)).rows)

    async def deeds_page(self, tenant: str, cursor: str | None, limit: int) -> Page[Deed]:
        """List what was done in a tenant, newest first; raises BadCursor."""
        own = audit.c
        query = sa.select(own.id, own.at, own.who, own.did, own.subject).where(own.tenant == tenant)
        found = await page_of(self._store, query, (own.id,), cursor, limit)
        deeds = (
            Deed(at=row["at"], who=row["who"], did=row["did"], subject=row["subject"])
            for row in found.rows
        )
        return Page(tuple(deeds), found.next)


def normalised(email: str) -> str:
    """Give an address in the one form in which it is kept.

    Raises:
        AccountRefused: ``email_invalid``.
    """
    address = email.strip().lower()
    name, at, host = address.partition("@")
    plain = address.isprintable() and not any(char.isspace() for char in address)
    if not (name and at and host and plain and len(address) <= MAX_EMAIL_CHARS):
        raise AccountRefused("email_invalid")
    return address


def _hash(secret: str) -> str:
    """Hash a random secret of 256 bits: it cannot be guessed, so a slow hash would buy nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _columns(value: User | Token) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _user(row: sa.Row[Any]) -> User:
    return User(
        id=row.id,
        tenant=row.tenant,
        email=row.email,
        role=role_of(row.role) or "viewer",
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def _token(row: sa.Row[Any]) -> Token:
    return Token(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        role=role_of(row.role) or "viewer",
        created_at=row.created_at,
        created_by=row.created_by,
        used_at=row.used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
