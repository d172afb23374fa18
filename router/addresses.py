"""Which addresses requests may go to whose URL others have written.

A URL of a persona or of an outgoing webhook must not reach what stands beside the router: its own
ports, the metadata service of a cloud, a database. Names are resolved first, and the address that
was looked at is the one that is connected to.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]


def is_public(address: str) -> bool:
    """Whether *address* is of the open Internet; one that holds another is judged by that."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        within = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            within = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if within is not None:
            return is_public(str(within))
        if ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast


def is_address(host: str) -> bool:
    """Whether *host* is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of *host*; raises OSError."""
    found: Sequence[Any] = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Hosts that may be reached although their addresses are not public: names or addresses.

    One that is listed without a port may be reached on any.
    """

    listed: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "Neighbours":
        """Read a list separated by commas."""
        return cls(frozenset(filter(None, (part.strip().lower() for part in text.split(",")))))

    def reach(self, host: str, port: int, address: str) -> bool:
        """Whether *host*, which has been found at *address*, may be connected to."""
        if is_public(address):
            return True
        shown = f"[{host}]" if ":" in host else host
        return bool({host, shown, f"{shown}:{port}", address} & self.listed)
