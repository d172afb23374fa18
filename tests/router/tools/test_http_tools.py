"""HTTP tools against a real server on loopback; names are resolved by a fake."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from personas.options import HttpTool
from router.errors import ToolRefused
from router.tools.http_tools import Hosts, HttpTools, check_arguments
from tests.servers import serving

PARAMETERS = {
    "type": "object",
    "properties": {"order": {"type": "string", "maxLength": 20}, "count": {"type": "integer"}},
    "required": ["order"],
}


@dataclass
class FakeShop:
    """A server that keeps what it was asked and answers *answer*, or hangs."""

    answer: bytes = b'{"state": "shipped"}'
    status: str = "200 OK"
    headers: str = ""
    hangs: bool = False
    port: int = 0
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((first, headers, body))
        if self.hangs:
            await reader.read()
        writer.write(
            f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.answer)}\r\n"
            f"Connection: close\r\n{self.headers}\r\n".encode()
            + self.answer
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def open_shop(**options: Any) -> AsyncIterator[FakeShop]:
    shop = FakeShop(**options)
    async with serving(shop.serve) as shop.port:
        yield shop


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as made:
        yield made


def tools(
    client: httpx.AsyncClient,
    hosts: str,
    *,
    resolved: tuple[str, ...] = ("127.0.0.1",),
    secrets: Path | None = None,
) -> HttpTools:
    async def resolve(_host: str, _port: int) -> list[str]:
        return list(resolved)

    return HttpTools(client=client, hosts=Hosts.of(hosts), secrets=secrets, resolve=resolve)


def tool(url: str, **fields: Any) -> HttpTool:
    told = {"name": "order_status", "description": "Look up.", "parameters": PARAMETERS}
    return HttpTool.model_validate({**told, "url": url, **fields})


async def test_a_tool_is_one_request_with_its_arguments_as_json(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "shop").write_text("s3cret\n", encoding="utf-8")
    async with open_shop() as shop:
        url = f"http://shop.test:{shop.port}/orders?lang=en"
        asked = tools(client, f"shop.test:{shop.port},127.0.0.1", secrets=tmp_path)

        answer = await asked.run(tool(url, secret="shop"), {"order": "A7"})

    (first, headers, body), *others = shop.requests
    assert answer == '{"state": "shipped"}'
    assert not others
    assert first == "POST /orders?lang=en HTTP/1.1"
    assert headers["host"] == f"shop.test:{shop.port}"
    assert headers["authorization"] == "Bearer s3cret"
    assert json.loads(body) == {"order": "A7"}


async def test_a_get_has_its_arguments_in_the_query(client: httpx.AsyncClient) -> None:
    async with open_shop() as shop:
        at = f"127.0.0.1:{shop.port}"
        await tools(client, at).run(
            tool(f"http://{at}/o?lang=en", method="GET"), {"order": "A&7", "count": 2}
        )

    assert shop.requests[0][0] == "GET /o?lang=en&order=A%267&count=2 HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "hosts", "resolved"),
    [
        pytest.param("http://shop.test/x", "", ("93.184.215.14",), id="nothing-listed"),
        pytest.param("http://shop.test/x", "other.test", ("93.184.215.14",), id="not-listed"),
        pytest.param("http://shop.test:81/x", "shop.test", ("93.184.215.14",), id="other-port"),
        pytest.param("http://shop.test/x", "shop.test", ("127.0.0.1",), id="loopback"),
        pytest.param("http://shop.test/x", "shop.test", ("10.0.0.8",), id="private"),
        pytest.param("http://shop.test/x", "shop.test", ("169.254.169.254",), id="metadata"),
        pytest.param("http://shop.test/x", "shop.test", ("::1",), id="loopback-6"),
        pytest.param("http://shop.test/x", "shop.test", ("::ffff:127.0.0.1",), id="mapped"),
        pytest.param("http://shop.test/x", "shop.test", ("93.184.215.14", "10.1.1.1"), id="one"),
        pytest.param("http://shop.test/x", "shop.test", (), id="no-such-name"),
        pytest.param("http://127.0.0.1/x", "shop.test", ("127.0.0.1",), id="an-address"),
        pytest.param("http://u:p@shop.test/x", "shop.test", ("93.184.215.14",), id="userinfo"),
        pytest.param("http://shop.test@evil.test/x", "shop.test", ("1.1.1.1",), id="trick"),
    ],
)
async def test_nothing_else_is_asked(
    client: httpx.AsyncClient, url: str, hosts: str, resolved: tuple[str, ...]
) -> None:
    with pytest.raises(ToolRefused, match="not allowed"):
        await tools(client, hosts, resolved=resolved).run(tool(url), {"order": "A7"})


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient) -> None:
    async with open_shop(status="302 Found", headers="Location: http://127.0.0.1:1/\r\n") as shop:
        at = f"127.0.0.1:{shop.port}"
        with pytest.raises(ToolRefused, match="302"):
            await tools(client, at).run(tool(f"http://{at}/"), {"order": "A7"})

    assert len(shop.requests) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"status": "500 Oops"}, "status 500"),
        ({"answer": b"x" * 70_000}, "too long"),
        ({"hangs": True}, "took too long"),
    ],
)
async def test_what_goes_wrong_is_words(
    client: httpx.AsyncClient, options: dict[str, Any], words: str
) -> None:
    async with open_shop(**options) as shop:
        at = f"127.0.0.1:{shop.port}"
        with pytest.raises(ToolRefused, match=words):
            await tools(client, at).run(tool(f"http://{at}/", deadline_s=0.5), {"order": "A7"})


async def test_a_server_that_is_not_there_is_words(client: httpx.AsyncClient) -> None:
    async with open_shop() as shop:
        at = f"127.0.0.1:{shop.port}"
    with pytest.raises(ToolRefused, match="could not be looked up"):
        await tools(client, at).run(tool(f"http://{at}/"), {"order": "A7"})


@pytest.mark.parametrize("name", ["missing", "../shop", "/etc/hostname", "broken"])
async def test_a_secret_that_is_not_there_sends_nothing(
    client: httpx.AsyncClient, tmp_path: Path, name: str
) -> None:
    (tmp_path / "broken").write_bytes(b"\xff\xfe")
    async with open_shop() as shop:
        at = f"127.0.0.1:{shop.port}"
        with pytest.raises(ToolRefused):
            await tools(client, at, secrets=tmp_path / "in").run(
                tool(f"http://{at}/", secret=name), {"order": "A7"}
            )

    assert not shop.requests


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "'order' is a required property"),
        ({"order": 7}, "order: 7 is not of type 'string'"),
        ({"order": "A" * 21}, "order: .* is too long"),
        ({"order": "A7", "url": "http://evil.test"}, "Additional properties"),
        ({"order": "A" * 20_000}, "too much at once"),
    ],
)
def test_arguments_are_held_against_the_schema(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolRefused, match=words):
        check_arguments(tool("https://shop.test"), arguments)


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"order": {"$ref": "http://127.0.0.1:9/schema"}}},
        {"properties": {"order": {"type": "nonsense"}}},
        {"properties": {"order": {"$ref": "#/properties/order"}}},
        {"properties": {"x": {"description": "y" * 40_000}}},
    ],
)
def test_a_broken_schema_is_words_and_fetches_nothing(parameters: dict[str, Any]) -> None:
    with pytest.raises(ToolRefused, match="cannot be used"):
        check_arguments(tool("https://shop.test", parameters=parameters), {"order": "A7"})


def test_a_regular_expression_of_a_persona_is_not_run() -> None:
    evil = {"properties": {"order": {"type": "string", "pattern": "^(a+)+$"}}}

    check_arguments(tool("https://shop.test", parameters=evil), {"order": "a" * 40 + "!"})
