"""Seals secrets before they are written to the database, and opens them again. Pure but for chance.

The key is derived from LiveKit's secret, which router and commands have anyway, so that a copy of
the database alone tells nothing. AES-256-GCM; a sealed text opens in its own row alone.
"""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from router.errors import SealBroken

_PREFIX: Final = "sealed1:"
_NONCE_BYTES: Final = 12
_KEY_OF: Final = b"persona-router/seal/1"


class Seal:
    """Seals with the key of the first of *secrets*, and opens what any of them has sealed."""

    def __init__(self, secrets: Iterable[str]) -> None:
        keys = [hmac.digest(secret.encode(), _KEY_OF, "sha256") for secret in secrets]
        self._ciphers = [AESGCM(key) for key in keys]

    def close(self, text: str, row: str) -> str:
        """Seal *text* for *row*, which names where it is kept."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, text.encode(), row.encode())
        return _PREFIX + urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, row: str) -> str:
        """Return what was sealed for *row*; raises SealBroken."""
        return self._opened(sealed, row)[0]

    def renewed(self, kept: str, row: str) -> str:
        """Return *kept* as the first secret seals it: as it is, if that is how it was sealed.

        What is not sealed yet is sealed. Raises SealBroken.
        """
        if not kept.startswith(_PREFIX):
            return self.close(kept, row)
        text, by = self._opened(kept, row)
        return self.close(text, row) if by else kept

    def _opened(self, sealed: str, row: str) -> tuple[str, int]:
        """Return what was sealed, and by which of the secrets."""
        if not sealed.startswith(_PREFIX):
            raise SealBroken("not_sealed")
        try:
            raw = urlsafe_b64decode(sealed.removeprefix(_PREFIX))
        except ValueError:
            raise SealBroken("not_sealed") from None
        for place, cipher in enumerate(self._ciphers):
            try:
                text = cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], row.encode())
            except (InvalidTag, ValueError):
                continue
            return text.decode(), place
        raise SealBroken("another_key")
