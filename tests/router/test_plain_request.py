"""What is read past the parser is read as the parser would have, and nothing odd is."""

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.plain_request import PlainRequest, read

PATH = b"/livekit-webhook"
BODY = b'{"event":"room_started"}'
LINE = b"POST /livekit-webhook HTTP/1.1"
FIELDS = (
    b"Host: router:8080",
    b"User-Agent: Go-http-client/1.1",
    b"Content-Length: 24",
    b"Authorization: e30.e30.c2ln",
    b"Content-Type: application/webhook+json",
    b"Accept-Encoding: gzip",
)


def request(*fields: bytes, line: bytes = LINE, body: bytes = BODY) -> bytes:
    return b"\r\n".join((line, *(fields or FIELDS), b"", body))


class Parsed:
    """What uvicorn's parser makes of bytes."""

    def __init__(self, data: bytes) -> None:
        self.url, self.body = b"", b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.messages = 0
        parser: Any = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        parser.feed_data(data)
        self.method = parser.get_method()
        self.keeps = parser.should_keep_alive() and not parser.should_upgrade()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


def test_a_delivery_of_livekits_is_read() -> None:
    found = read(request(), {PATH: None})

    assert found is not None
    assert (found.path, found.body) == (PATH, BODY)
    assert found.headers[3] == (b"authorization", b"e30.e30.c2ln")
    assert len(found.headers) == len(FIELDS)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(line=b"POST /elsewhere HTTP/1.1"), id="another-path"),
        pytest.param(request(line=b"GET /livekit-webhook HTTP/1.1"), id="another-method"),
        pytest.param(request(line=b"POST /livekit-webhook HTTP/1.0"), id="an-old-version"),
        pytest.param(request(line=b"POST  /livekit-webhook HTTP/1.1"), id="two-blanks"),
        pytest.param(request(line=b"POST /livekit-webhook?a=b HTTP/1.1"), id="a-query"),
        pytest.param(request(line=b"POST http://x/livekit-webhook HTTP/1.1"), id="absolute"),
        pytest.param(b"\r\n" + request(), id="a-blank-line-before"),
        pytest.param(request()[:-1], id="not-whole"),
        pytest.param(request()[:40], id="half-a-head"),
        pytest.param(b"", id="nothing"),
        pytest.param(request() + request(), id="two"),
        pytest.param(request() + b"\r\n", id="more-than-its-length"),
        pytest.param(request(*FIELDS[:2]), id="no-length"),
        pytest.param(request(*FIELDS, b"Content-Length: 24"), id="two-lengths"),
        pytest.param(request(*FIELDS[:2], b"Content-Length: +24"), id="a-signed-length"),
        pytest.param(request(*FIELDS[:2], b"Content-Length: 024"), id="an-octal-length"),
        pytest.param(request(*FIELDS[:2], b"Content-Length: 24, 24"), id="a-list-of-lengths"),
        pytest.param(request(*FIELDS, b"Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(request(*FIELDS, b"tRANSFER-eNCODING: identity"), id="any-case"),
        pytest.param(request(*FIELDS, b"Connection: close"), id="the-last-one"),
        pytest.param(request(*FIELDS, b"Connection: upgrade", b"Upgrade: h2c"), id="upgrade"),
        pytest.param(request(*FIELDS, b"Expect: 100-continue"), id="expects"),
        pytest.param(request(*FIELDS, b"Trailer: X-Sum"), id="trailers"),
        pytest.param(request(*FIELDS, b"X-Odd : 1"), id="a-blank-in-a-name"),
        pytest.param(request(*FIELDS, b"X-Odd:1"), id="no-blank-after-the-colon"),
        pytest.param(request(*FIELDS, b"X-Odd: "), id="an-empty-value"),
        pytest.param(request(*FIELDS, b"X-Odd: a\x00b"), id="a-nul"),
        pytest.param(request(*FIELDS, b"X-Odd: a\rb"), id="a-bare-cr"),
        pytest.param(request(*FIELDS, b"X-Odd: a\nX-Even: b"), id="a-bare-lf"),
        pytest.param(request(*FIELDS, b" folded"), id="a-folded-line"),
        pytest.param(request(*FIELDS, b"X-Odd: blank at its end "), id="blank-at-the-end"),
    ],
)
def test_what_is_odd_is_left_to_the_parser(data: bytes) -> None:
    assert read(data, {PATH: None}) is None


_PIECES = st.sampled_from(
    [
        *(*FIELDS, LINE, BODY, b"POST", b"X: y", b"0", b"24", b":", b" ", b"\t"),
        *(b"\r\n", b"\n", b"\r", b"\x00", b"\xff"),
        *(b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Connection: close"),
    ]
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Return a request with a few pieces put in, taken out or doubled."""
    data = request(*draw(st.permutations(FIELDS)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 30)))
        data = data[:start] + draw(_PIECES | st.binary(max_size=3)) + data[end:]
    return data


@given(_mutated())
def test_the_parser_would_have_read_the_same(data: bytes) -> None:
    found = read(data, {PATH: None})
    if found is None:
        return

    parsed = Parsed(data)

    assert found == PlainRequest(parsed.url, parsed.headers, parsed.body)
    assert (parsed.method, parsed.messages, parsed.keeps) == (b"POST", 1, True)


def test_a_long_run_of_blanks_takes_no_longer_than_its_length() -> None:
    data = request(*FIELDS, b"X-Odd: a" + b" " * 200_000 + b"\x00")

    assert read(data, {PATH: None}) is None
