"""The OpenAPI 3.1 document, made from the routes' table and the models."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import personas
from router.api.endpoints import Endpoint, Nothing

_REF: Final = "#/components/schemas/{model}"
_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457: what happened (`code`), and what to do (`fix`).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "fix": {"type": "string"},
    },
    "required": ["type", "title", "status", "code"],
}
_FILE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
    "required": ["file"],
}
_WHY: Final = {
    400: "The request cannot be read",
    401: "Nobody proved who they are",
    403: "The role is not enough, or the request comes from another page",
    404: "There is no such thing, or it is another tenant's",
    409: "It is there already",
    413: "Too large",
    415: "Not JSON",
    422: "A field is wrong",
    429: "Too many requests",
    503: "The database did not answer, or calls come first",
}


def document(
    endpoints: Iterable[Endpoint], prefix: str, besides: Iterable[Endpoint] = ()
) -> dict[str, Any]:
    """Describe *endpoints*, which are served under *prefix*, and those *besides*, which are not."""
    under, others = tuple(endpoints), tuple(besides)
    rows = (*under, *others)
    models = {
        model
        for row in rows
        for model in (row.query, row.body, row.answer)
        if model is not None and model is not Nothing
    }
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        path = row.path if row in others else prefix + row.path
        paths.setdefault(path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "persona-router",
            "version": personas.__version__,
            "description": "Every phone number answered by the right persona.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "persona_session"},
            },
        },
    }


def _operation(row: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": row.summary,
        "operationId": _identifier(row),
        "x-needs": row.needs,
        "parameters": [*_path_parameters(row), *_query_parameters(row.query)],
        "responses": _responses(row),
        "security": [] if row.needs == "nothing" else [{"token": []}, {"session": []}],
    }
    if row.takes is not None:
        text = {row.takes: {"schema": {"type": "string"}}}
        operation["requestBody"] = {"required": True, "content": text}
    if row.body is not None:
        schema = {"schema": _reference(row.body)}
        content = {"application/json": schema}
        if row.form:
            content["application/x-www-form-urlencoded"] = schema
        operation["requestBody"] = {"required": True, "content": content}
    if row.upload:
        form = {"multipart/form-data": {"schema": _FILE}}
        operation["requestBody"] = {"required": True, "content": form}
    return operation


def _identifier(row: Endpoint) -> str:
    words = re.findall(r"[a-z]+", row.path)
    return "_".join([row.method.lower(), *words])


def _path_parameters(row: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)", row.path)
    ]


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    if model is Nothing:
        return []
    schema = model.model_json_schema(ref_template=_REF)
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": {key: item for key, item in value.items() if key != "description"},
            **({"description": value["description"]} if "description" in value else {}),
        }
        for name, value in schema.get("properties", {}).items()
    ]


def _responses(row: Endpoint) -> Mapping[str, Any]:
    good: dict[str, Any] = {"description": row.summary}
    content: dict[str, Any] = {}
    if row.answer is not None:
        content["application/json"] = {"schema": _reference(row.answer)}
    if row.csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    if row.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    if row.pdf:
        content["application/pdf"] = {"schema": {"type": "string"}}
    if content:
        good["content"] = content
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    statuses = [422, 429, 503]
    if row.needs != "nothing":
        statuses += [403]
    if row.body is not None or row.upload:
        statuses += [400, 409, 413, 415]
    if "{" in row.path:
        statuses += [404]
    if row.takes is not None:
        statuses += [400, 413, 415]
    errors = {
        str(status): {"description": _WHY[status], "content": problem}
        for status in sorted({401, *statuses})
    }
    return {str(row.status): good, **errors}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
