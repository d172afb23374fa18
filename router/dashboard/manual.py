"""The API for people: the OpenAPI document as a page, with a line of curl for each route."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.responses import Response

from router.api.openapi import document
from router.api.table import ENDPOINTS
from router.dashboard.pages import Visit

PREFIX: Final = "/api"
_KINDS: Final = {"string": "…", "integer": 1, "number": 1, "boolean": False, "object": {}}
_DEEPEST: Final = 4


async def manual(visit: Visit) -> Response:
    """Show all routes by their first word."""
    found = list(operations(document(ENDPOINTS, PREFIX)))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in found:
        groups.setdefault(one["path"].removeprefix(PREFIX).split("/")[1], []).append(one)
    return visit.render("manual.html", groups=groups)


def operations(described: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give what a page shows of each operation of an OpenAPI document."""
    schemas = described["components"]["schemas"]
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            content: Mapping[str, Any] = one.get("requestBody", {}).get("content", {})
            kind = next(iter(content), "")
            schema = _resolved(content[kind]["schema"] if kind else {}, schemas)
            example = _example(schema, schemas)
            yield {
                "id": one["operationId"],
                "method": method.upper(),
                "path": path,
                "summary": one["summary"],
                "needs": one["x-needs"],
                "parameters": one["parameters"],
                "kind": kind,
                "fields": _fields(schema, schemas),
                "statuses": sorted(one["responses"]),
                "curl": _curl(method.upper(), path, one, kind=kind, example=example),
            }


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": _type(value, schemas),
            "required": name in required,
            "description": value.get("description", ""),
        }
        for name, value in schema.get("properties", {}).items()
    ]


def _type(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    real = _resolved(schema, schemas)
    if "enum" in real:
        return " | ".join(json.dumps(value) for value in real["enum"])
    if "const" in real:
        return json.dumps(real["const"])
    if "anyOf" in real:
        return " | ".join(dict.fromkeys(_type(one, schemas) for one in real["anyOf"]))
    if real.get("type") == "array":
        return f"[{_type(real.get('items', {}), schemas)}]"
    return str(real.get("type", "any"))


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return schemas.get(name, schema) if name else schema


def _curl(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    *,
    kind: str,
    example: Any,
) -> str:
    named = re.sub(r"\{(\w+)\}", lambda match: f"${match[1].upper()}", path)
    asked = [
        f"{one['name']}=…"
        for one in operation["parameters"]
        if one["in"] == "query" and one["required"]
    ]
    query = f"?{'&'.join(asked)}" if asked else ""
    words = ["curl", *(["-X", method] if method != "GET" else []), f'"$ROUTER{named}{query}"']
    if operation["security"]:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if kind == "application/json":
        body = json.dumps(example, ensure_ascii=False)
        words += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    elif kind == "multipart/form-data":
        words.append("-F file=@leads.csv")
    elif kind:
        words += [f"-H 'Content-Type: {kind}'", "--data-binary @numbers.csv"]
    return " ".join(words)


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """Give a value of the shape of *schema*, with what is required alone."""
    real = _resolved(schema, schemas)
    for name in ("const", "default"):
        if name in real:
            return real[name]
    if "enum" in real:
        return real["enum"][0]
    if "anyOf" in real and depth < _DEEPEST:
        return _example(real["anyOf"][0], schemas, depth + 1)
    if "properties" in real and depth < _DEEPEST:
        wanted = real.get("required") or list(real["properties"])[:1]
        return {name: _example(real["properties"][name], schemas, depth + 1) for name in wanted}
    if real.get("type") == "array":
        return [_example(real.get("items", {}), schemas, depth + 1)] if depth < _DEEPEST else []
    return _KINDS.get(str(real.get("type")), "…")
