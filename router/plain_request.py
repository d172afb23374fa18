"""Reads an HTTP/1.1 request that came in one piece and is written plainly. Pure.

LiveKit's client writes its deliveries so, and proxies pass them on so: a line, fields with one
blank after the colon, a length. That takes a third of the parser's time, which makes up for what
no delivery has. What is written in any other way is not read here at all: how two readers take an
odd request differently is how requests are smuggled.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_VALUE: Final = rb"[!-~\x80-\xff](?:[ -~\x80-\xff]*[!-~\x80-\xff])?"
_FIELD: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: " + _VALUE + rb"\r\n"
_HEAD: Final = re.compile(rb"POST (/[!-~]*) HTTP/1\.1\r\n((?:" + _FIELD + rb")+)\r\n")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,8}")
#: Fields that say how a request is framed, or what becomes of its connection.
_FRAMING: Final = frozenset(
    {b"connection", b"expect", b"http2-settings", b"keep-alive", b"proxy-connection", b"te"}
    | {b"trailer", b"transfer-encoding", b"upgrade"}
)


class PlainRequest(NamedTuple):
    """A POST, to one of the paths that were asked for."""

    path: bytes
    headers: list[tuple[bytes, bytes]]  # names in lower case
    body: bytes


def read(data: bytes, paths: Mapping[bytes, object]) -> PlainRequest | None:
    """Return the request that *data* is, from its first byte to its last.

    None: it is not one of *paths*, not whole, more than one, or not plain.
    """
    head = _HEAD.match(data)
    if head is None or head[1] not in paths:
        return None
    headers, length = [], None
    for line in head[2].splitlines():
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name == b"content-length":
            if length is not None:
                return None
            length = value
        elif name in _FRAMING:
            return None
        headers.append((name, value))
    body = data[head.end() :]
    if length is None or not _LENGTH.fullmatch(length) or int(length) != len(body):
        return None
    return PlainRequest(head[1], headers, body)
