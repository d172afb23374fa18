"""What the webhook and its surroundings answer, made once where it is always the same."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Message


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as ASGI wants it and as it goes over the wire."""

    messages: tuple[Message, Message]
    head: bytes  # status line and fields, without the blank line that ends them
    body: bytes
    closes: bool  # its fields say that the connection ends with it


def problem(status: int, title: str, code: str, fix: str = "") -> bytes:
    """Return an RFC 9457 body."""
    document = {"type": "about:blank", "title": title, "status": status, "code": code}
    return json.dumps(document | ({"fix": fix} if fix else {})).encode()


def _answer(status: int, body: bytes = b"", headers: Mapping[bytes, bytes] | None = None) -> Answer:
    kind = b"application/problem+json" if body else b"text/plain"
    fields = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        *(headers or {}).items(),
    ]
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    lines += [name + b": " + value for name, value in fields]
    return Answer(
        (
            {"type": "http.response.start", "status": status, "headers": fields},
            {"type": "http.response.body", "body": body},
        ),
        head=b"\r\n".join(lines) + b"\r\n",
        body=body,
        closes=(b"connection", b"close") in fields,
    )


DONE = _answer(200)
NOT_OURS = _answer(401, problem(401, "Unauthorized", "not_signed_by_livekit"))
RUBBISH = _answer(400, problem(400, "Bad Request", "signed_rubbish"))
TOO_LARGE = _answer(413, problem(413, "Content Too Large", "too_large"))
# 408 by the book, but LiveKit would never repeat that.
SLOW = _answer(
    503,
    problem(503, "Service Unavailable", "slow_body"),
    {b"retry-after": b"1", b"connection": b"close"},
)
SHED = _answer(503, problem(503, "Service Unavailable", "busy_with_calls"), {b"retry-after": b"5"})
DELIVER_AGAIN = problem(503, "Service Unavailable", "deliver_again")
ONLY_POST = _answer(405, problem(405, "Method Not Allowed", "only_post"), {b"allow": b"POST"})
BY_STATUS = {400: RUBBISH, 401: NOT_OURS, 413: TOO_LARGE, 503: SLOW}


def again(in_s: float) -> Answer:
    """Ask LiveKit to deliver again after *in_s* seconds."""
    wait_s = max(1, math.ceil(in_s))  # whole seconds; 0 would be repeated within a millisecond
    return _answer(503, DELIVER_AGAIN, {b"retry-after": str(wait_s).encode()})
