"""What a page is: a row that says who may see it; what is sent to it is checked before it runs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from router.access import meant, permit
from router.api.endpoints import Nothing, body_of, kind_of, read_as
from router.api.leads import SentFile, sent_file
from router.api.masks import masked_record
from router.dashboard.languages import language_of, zone_of
from router.dashboard.rendering import render
from router.errors import AccessRefused, RequestRefused, StoreUnavailable
from router.principals import DEFAULT_TENANT, Needs, Principal
from router.services import Services

log = structlog.get_logger(__name__)

MAX_FIELDS: Final = 50
MAX_FORM_BYTES: Final = 64 * 1024
UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request for a page by somebody who may make it."""

    request: Request
    services: Services
    principal: Principal | None  # None only where nothing is needed
    language: str
    zone: str = ""  # empty: the browser's
    title: str
    query: Any = None  # an instance of the page's ``query``
    topics: str = ""  # of the stream that says when the page is another one
    after: str = ""  # the position in that stream: the page knows all before it
    form: Mapping[str, str]
    sent: SentFile | None = None  # what a page with ``upload`` was sent

    @property
    def tenant(self) -> str:
        """Whose rows may be seen."""
        return self.principal.tenant if self.principal else DEFAULT_TENANT

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    @property
    def secure(self) -> bool:
        """Whether the browser came over TLS."""
        return self.request.url.scheme == "https"

    @property
    def here(self) -> str:
        """This page's own address, without a host."""
        url = self.request.url
        return f"{url.path}?{url.query}" if url.query else url.path

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return the page that *template* makes."""
        frame = {
            "title": self.title,
            "principal": self.principal,
            "path": self.request.url.path,
            "here": self.here,
            "topics": self.topics,
            "told_after": self.after,
            "asked": dict(self.request.query_params),
        }
        return HTMLResponse(render(template, self.language, frame | values, self.zone), status)

    async def shown(self, document: Any, *, clear: bool) -> Any:
        """Mask all numbers in *document*, unless an operator wants them *clear*; that is audited.

        Raises:
            AccessRefused: 403, only operators see numbers.
        """
        if not clear or self.principal is None:
            return masked_record(document)
        permit(self.principal, "operator")
        accounts = self.services.access.accounts
        await accounts.note(self.principal, "numbers.revealed", self.request.url.path)
        return document


Handler: TypeAlias = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One route for people."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    needs: Needs
    title: str
    query: type[BaseModel] = Nothing
    topics: str = ""  # of what is shown while it goes on, with commas between
    form_bytes: int = MAX_FORM_BYTES
    upload: bool = False  # the form brings a file in its part ``file``
    per_minute: tuple[str, int] | None = None  # what is counted, and how many a sender may

    def route(self) -> Route:
        """Return the route."""
        return Route(self.path, self._serve, methods=[self.method])

    async def _serve(self, request: Request) -> Response:
        visit = Visit(
            request=request,
            services=request.state.services,
            principal=None,
            language=language_of(request.headers),
            zone=zone_of(request.headers),
            title=self.title,
            form={},
        )
        try:
            visit = replace(visit, principal=await self._who(visit))
            if visit.principal is None and self.needs != "nothing":
                return _to_login(visit)
            return await self._answer(visit)
        except (AccessRefused, RequestRefused) as exc:
            if exc.status == UNAUTHORIZED and self.needs != "nothing":
                return _to_login(visit)
            return failed(visit, exc.status, exc.reason, exc.fix)
        except StoreUnavailable as exc:
            log.warning("page.not_served", path=self.path, reason=exc.reason)
            fix = "the database did not answer; try again, and see /readyz"
            return failed(visit, 503, "database_away", fix)

    async def _who(self, visit: Visit) -> Principal | None:
        request = visit.request
        peer = request.client.host if request.client else ""
        return await visit.services.access.who(request.headers, peer)

    async def _answer(self, visit: Visit) -> Response:
        permit(visit.principal, self.needs)
        if self.per_minute and visit.principal:
            await visit.services.access.limit(*self.per_minute, visit.principal)
        if self.upload:
            sent = await sent_file(visit.request)
            visit = replace(visit, form=sent.fields, sent=sent)
        elif self.method == "POST":
            visit = replace(visit, form=await _form(visit.request, self.form_bytes))
        if self.method == "POST":
            meant(visit.principal, visit.request.headers, visit.form.get("csrf"))
        filled = {key: value for key, value in visit.request.query_params.items() if value}
        visit = replace(visit, query=read_as(self.query, filled, "query"))
        if self.topics:  # before anything is read: what happens meanwhile is told
            head = await visit.services.outbox.head()
            visit = replace(visit, topics=self.topics, after=str(head))
        return await self.handler(visit)


def failed(visit: Visit, status: int, code: str, fix: str, back: str = "") -> Response:
    """Say what went wrong, and what to do; *back* is where the reader goes on."""
    visit = replace(visit, title="Not possible")
    return visit.render("error.html", status, number=status, code=code, fix=fix, back=back)


def safe_path(wanted: str) -> str:
    """Return *wanted* if it is a path of ours; else the first page."""
    parts = urlsplit(wanted) if wanted.isprintable() else None
    ours = parts is not None and not parts.scheme and not parts.netloc
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if ours and plain else "/"


def to(path: str) -> Response:
    """Send the browser on, to GET *path*."""
    return RedirectResponse(path, 303)


def _to_login(visit: Visit) -> Response:
    if visit.request.method != "GET" or visit.here == "/":
        return to("/login")
    return to(f"/login?next={quote(visit.here, safe='')}")


async def _form(request: Request, limit: int) -> dict[str, str]:
    if kind_of(request) != "application/x-www-form-urlencoded":
        raise RequestRefused("not_a_form", status=415, fix="send the form of the page")
    raw = await body_of(request, limit)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise RequestRefused("bad_form", status=400, fix="send the form of the page") from None
