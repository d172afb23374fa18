"""Who may ask, while there is no access control: whoever is on this machine."""

import ipaddress

from starlette.requests import Request

from router.settings import RouterSettings


def stays_here(settings: RouterSettings, request: Request) -> bool:
    """Whether what is answered cannot leave this machine, or its operator is developing."""
    if settings.router_dev:
        return True
    if "forwarded" in request.headers or "x-forwarded-for" in request.headers:
        return False
    peer = request.client.host if request.client else ""
    return _is_loopback(settings.host) and _is_loopback(peer)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
