"""Passwords, hashed with argon2id in threads: one takes tens of milliseconds and 64 MiB."""

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from router.errors import AccountRefused

MIN_CHARS: Final = 12
MAX_CHARS: Final = 256
AT_ONCE: Final = 2  # more would only share the processor, and each holds its 64 MiB


class Passwords:
    """Makes and compares hashes, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._nobodys = ""  # compared with when there is no such user; made when it is needed

    async def hash(self, password: str) -> str:
        """Hash a new password.

        Raises:
            AccountRefused: ``password_too_short`` or ``password_too_long``.
        """
        if len(password) < MIN_CHARS:
            raise AccountRefused("password_too_short")
        if len(password) > MAX_CHARS:
            raise AccountRefused("password_too_long")
        async with self._places:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Compare; without a hash (no such user) it takes as long, and is False."""
        async with self._places:
            right = await asyncio.to_thread(self._verify, password[:MAX_CHARS], hashed)
        return right and hashed is not None

    def _verify(self, password: str, hashed: str | None) -> bool:
        if hashed is None:
            self._nobodys = self._nobodys or self._hasher.hash("nobody has this password")
        try:
            return self._hasher.verify(hashed or self._nobodys, password)
        except (Argon2Error, InvalidHashError):
            return False
