"""What a route is: a row that says who may call it, what it takes and what it answers.

The router, the OpenAPI document and the tests that try every door read the same rows.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.access import meant, permit
from router.api.problems import problem_of
from router.api.tables import csv_of
from router.errors import AccessRefused, RequestRefused, StoreUnavailable
from router.principals import DEFAULT_TENANT, Needs, Principal
from router.services import Services

log = structlog.get_logger(__name__)
M = TypeVar("M", bound=BaseModel)

MAX_BODY_BYTES: Final = 256 * 1024
SAFE: Final = frozenset({"GET", "HEAD"})
_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
}

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Asking(Protocol):
    """Somebody who asks for something, through the API or a page."""

    @property
    def services(self) -> Services:
        """What the router holds."""
        ...

    @property
    def principal(self) -> Principal | None:
        """Who they are; None only where nothing is needed."""
        ...

    @property
    def tenant(self) -> str:
        """Whose rows may be seen."""
        ...


async def note(asking: Asking, did: str, subject: str) -> None:
    """Write into the audit what somebody did to what."""
    if asking.principal is not None:
        await asking.services.access.accounts.note(asking.principal, did, subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request whose sender may make it, with what it says read and checked."""

    request: Request
    services: Services
    principal: Principal | None  # None only where nothing is needed
    query: Any  # an instance of the endpoint's ``query``
    body: Any  # an instance of the endpoint's ``body``

    @property
    def tenant(self) -> str:
        """Whose rows may be seen."""
        return self.principal.tenant if self.principal else DEFAULT_TENANT

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])


Handler: TypeAlias = Callable[[Ask], Awaitable[Response]]


class Nothing(BaseModel):
    """No parameters."""


class AsTable(BaseModel):
    """How a list that is short enough to come whole is answered."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    format: Literal["json", "csv"] = "json"


def whole_list(ask: Ask, rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> Response:
    """Answer a list that comes whole, and has no numbers in it, as JSON or CSV."""
    if ask.query.format == "csv":
        return Response(csv_of(rows, tuple(columns)), media_type="text/csv; charset=utf-8")
    return JSONResponse({"items": rows})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route."""

    method: Method
    path: str
    handler: Handler
    needs: Needs
    summary: str
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None  # JSON; None: the handler takes no JSON body
    form: bool = False  # the body may be a form with the same fields too
    upload: bool = False  # the body is a form with a file in its part ``file``
    answer: type[BaseModel] | None = None  # None: not JSON, or without content
    status: int = 200
    csv: bool = False  # `?format=csv` answers the same rows
    pdf: bool = False  # `?format=pdf` answers the same as a paper
    per_minute: int | None = None  # of one sender
    streams: bool = False  # the answer goes on, as server-sent events
    takes: str | None = None  # the media type of a body that the handler reads itself

    def route(self, prefix: str = "") -> Route:
        """Return the route, for which everything is checked before the handler runs."""
        return Route(prefix + self.path, self._serve, methods=[self.method])

    async def _serve(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except (AccessRefused, RequestRefused) as exc:
            answer = problem_of(exc.status, _TITLES[exc.status], exc.reason, exc.fix)
            if exc.status == 401:  # noqa: PLR2004 - RFC 9110 wants the header
                answer.headers["www-authenticate"] = "Bearer"
            if isinstance(exc, AccessRefused) and exc.retry_after_s:
                answer.headers["retry-after"] = str(exc.retry_after_s)
            return answer
        except StoreUnavailable as exc:
            log.warning("request.not_served", path=self.path, reason=exc.reason)
            fix = "the database did not answer; try again, and see /readyz"
            answer = problem_of(503, _TITLES[503], "database_away", fix)
            answer.headers["retry-after"] = "5"
            return answer

    async def _answer(self, request: Request) -> Response:
        services: Services = request.state.services
        peer = request.client.host if request.client else ""
        principal = await services.access.who(request.headers, peer)
        permit(principal, self.needs)
        if self.method not in SAFE and self.needs != "nothing":
            meant(principal, request.headers)
        if self.per_minute and principal:
            await services.access.limit(self.path, self.per_minute, principal)
        query = read_as(self.query, dict(request.query_params), "query")
        body = None
        if self.body is not None:
            body = read_as(self.body, await self._document(request), "body")
        return await self.handler(
            Ask(request=request, services=services, principal=principal, query=query, body=body)
        )

    async def _document(self, request: Request) -> Any:
        kind = kind_of(request)
        if self.form and kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
            async with request.form(max_files=0, max_fields=100) as form:
                return {key: value for key, value in form.items() if isinstance(value, str)}
        if not kind and self.form and not await body_of(request, 0):
            return {}  # older clients post without a body where nothing has to be said
        if kind != "application/json":
            raise RequestRefused("not_json", status=415, fix="send Content-Type: application/json")
        raw = await body_of(request, MAX_BODY_BYTES)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise RequestRefused("bad_json", status=400, fix="send valid JSON") from None


def kind_of(request: Request) -> str:
    """Return the media type that a request says its body has, without parameters; empty: none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request, limit: int) -> bytes:
    """Read a body of at most *limit* bytes.

    Raises:
        RequestRefused: 413.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                fix = f"send at most {limit // 1024} KiB"
                raise RequestRefused("too_large", status=413, fix=fix)
    except ClientDisconnect:
        raise RequestRefused("cut_off", status=400, fix="send the whole body") from None
    return bytes(body)


async def csv_body(request: Request, limit: int) -> bytes:
    """Read a body that says it is CSV, of at most *limit* bytes.

    Raises:
        RequestRefused: 400, 413 or 415.
    """
    if kind_of(request) != "text/csv":
        raise RequestRefused("not_csv", status=415, fix="send Content-Type: text/csv")
    return await body_of(request, limit)


def read_as(model: type[M], document: Any, where: str) -> M:
    """Read *document* as *model*.

    Raises:
        RequestRefused: 422; it names the fields, and no values.
    """
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or where}: {error['msg']}" for error in errors[:5]
        )
        raise RequestRefused(f"bad_{where}", status=422, fix=said) from None
