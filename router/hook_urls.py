"""Which URLs a hook may have, by their text; where a name leads is looked at when it is sent to."""

from urllib.parse import urlsplit

from router.addresses import PORTS, Neighbours, is_address
from router.errors import HookRefused


def check_url(url: str, neighbours: Neighbours) -> None:
    """Refuse a URL that could never be sent to; raises HookRefused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in PORTS or not host or not printable:
        raise HookRefused("bad_url", fix="write it as https://crm.example.org/hooks")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise HookRefused("bad_url", fix="leave out user, password and what follows a #")
    if is_address(host) and not neighbours.reach(host, port, host):
        raise HookRefused(
            "address_refused", fix="take a public address, or list it in HOOK_PRIVATE_HOSTS"
        )
