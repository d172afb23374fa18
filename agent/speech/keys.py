"""How settings become what the plugins take."""

import ssl
from functools import cache

import httpx2
from pydantic import SecretStr

HTTP_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 10


def secret(value: SecretStr | None) -> str:
    """Give the value of a key; a key that is not set is empty."""
    return value.get_secret_value() if value else ""


def address(url: str) -> str:
    """Give an address to which a path can be added."""
    return url.rstrip("/")


@cache
def trust() -> ssl.SSLContext:
    """Give the certificates of this machine, read once: it takes tens of milliseconds."""
    return ssl.create_default_context()


def http_client() -> httpx2.AsyncClient:
    """Build a client for OpenAI's library, which would read the certificates for each."""
    return httpx2.AsyncClient(
        verify=trust(),
        timeout=httpx2.Timeout(HTTP_TIMEOUT_S),
        follow_redirects=True,
        limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
    )
