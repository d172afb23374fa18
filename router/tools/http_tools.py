"""Runs the HTTP tools that personas declare: one request, to hosts that the operator has listed.

A persona comes from an API that others write to, so it decides neither where the router's requests
may go nor which secrets there are. The address that is connected to is the one that was checked:
a name that resolves to something else a moment later changes nothing. Redirects are not followed.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import referencing
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from personas.options import HttpTool
from router.addresses import PORTS, Resolver, is_public, resolved
from router.errors import ToolRefused

MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_ARGUMENT_BYTES: Final = 16 * 1024
MAX_SCHEMA_BYTES: Final = 32 * 1024
MAX_TOLD_CHARS: Final = 8_000
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
#: Regular expressions are left out: one of a persona's could keep the router busy for minutes.
_Validator: Final = extend(  # type: ignore[no-untyped-call] # the library has no types here
    Draft202012Validator, {"pattern": None, "patternProperties": None, "format": None}
)

FAILED: Final = "That could not be looked up. Say so, and go on without it."
NOT_ALLOWED: Final = "That tool cannot be used: its operator has not allowed its address."


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where requests may go: ``TOOL_HOSTS``, host names with or without a port, and addresses.

    A name without a port stands for that host's usual ports.
    """

    listed: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "Hosts":
        """Read a list separated by commas."""
        return cls(frozenset(filter(None, (part.strip().lower() for part in text.split(",")))))

    def allow(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL may be asked at all."""
        shown = f"[{host}]" if ":" in host else host
        return f"{shown}:{port}" in self.listed or (
            PORTS.get(scheme) == port and (host in self.listed or shown in self.listed)
        )

    def reach(self, host: str, address: str) -> bool:
        """Whether that host's *address* may be connected to: public, or listed itself."""
        if host == address:
            return True  # `allow` has found it in the list
        return address in self.listed or is_public(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTools:
    """Runs tools over *client*, which must not follow redirects nor read the environment."""

    client: httpx.AsyncClient
    hosts: Hosts
    secrets: Path | None = None  # a folder with a file for each secret
    resolve: Resolver = resolved

    async def run(self, tool: HttpTool, arguments: Mapping[str, Any]) -> str:
        """Run *tool* and return what it answered, as text.

        Raises:
            ToolRefused: in words for the model.
        """
        check_arguments(tool, arguments)
        try:
            async with asyncio.timeout(tool.deadline_s):
                return await self._ask(tool, arguments)
        except TimeoutError as exc:
            raise ToolRefused("That took too long. Say so, and go on without it.") from exc
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise ToolRefused(FAILED) from exc

    async def _ask(self, tool: HttpTool, arguments: Mapping[str, Any]) -> str:
        url = httpx.URL(tool.url)
        host, port = url.host.lower(), url.port or PORTS.get(url.scheme, 0)
        if url.userinfo or not self.hosts.allow(url.scheme, host, port):
            raise ToolRefused(NOT_ALLOWED)
        address = await self._address(host, port)
        headers = {"Accept": "application/json, text/plain", "Host": url.netloc.decode("ascii")}
        if tool.secret is not None:
            headers["Authorization"] = f"Bearer {self._secret(tool.secret)}"
        request = self.client.build_request(
            tool.method,
            url.copy_with(host=address),
            headers=headers,
            params=_query(arguments, url) if tool.method == "GET" else None,
            json=None if tool.method == "GET" else dict(arguments),
            extensions={"sni_hostname": host},
        )
        response = await self.client.send(request, stream=True, follow_redirects=False)
        try:
            return await _told(response)
        finally:
            await response.aclose()

    async def _address(self, host: str, port: int) -> str:
        addresses = await self.resolve(host, port)
        if not addresses or not all(self.hosts.reach(host, address) for address in addresses):
            raise ToolRefused(NOT_ALLOWED)
        return addresses[0]

    def _secret(self, name: str) -> str:
        if self.secrets is None or not _SECRET_NAME.fullmatch(name):
            raise ToolRefused(NOT_ALLOWED)
        try:
            secret = (self.secrets / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ToolRefused(NOT_ALLOWED) from exc
        if not secret.isascii() or not secret.isprintable() or not secret:
            raise ToolRefused(NOT_ALLOWED)
        return secret


def check_arguments(tool: HttpTool, arguments: Mapping[str, Any]) -> None:
    """Hold *arguments* against the tool's schema; raises ToolRefused, in words for the model."""
    if len(json.dumps(tool.parameters)) > MAX_SCHEMA_BYTES:
        raise ToolRefused(
            "That tool cannot be used: what it takes is described at too great length."
        )
    if len(json.dumps(arguments)) > MAX_ARGUMENT_BYTES:
        raise ToolRefused("That is too much at once; use fewer words.")
    schema = {"additionalProperties": False, **tool.parameters, "type": "object"}
    try:
        # Its own registry: the library's would fetch what a `$ref` names.
        validator = _Validator(schema, registry=referencing.Registry())
        Draft202012Validator.check_schema(schema)
        wrong = next(iter(validator.iter_errors(dict(arguments))), None)
    except (SchemaError, Unresolvable, RecursionError) as exc:
        raise ToolRefused("That tool cannot be used: its description is broken.") from exc
    if wrong is not None:
        raise ToolRefused(f"Use it again, with other arguments: {_reason(wrong)}")


def _reason(wrong: ValidationError) -> str:
    where = ".".join(str(part) for part in wrong.absolute_path)
    return f"{where}: {wrong.message[:300]}" if where else wrong.message[:300]


def _query(arguments: Mapping[str, Any], url: httpx.URL) -> httpx.QueryParams:
    given = {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in arguments.items()
        if value is not None
    }
    return url.params.merge(given)


async def _told(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ToolRefused("The answer was too long to read. Ask for less.")
    if not response.is_success:
        raise ToolRefused(f"It was refused (status {response.status_code}). Go on without it.")
    text = body.decode("utf-8", "replace").strip()
    return text[:MAX_TOLD_CHARS] or "Done."
