"""The persona API: ``GET <base>/<number>``. The only module that speaks HTTP to it.

One fetch has one deadline over everything in it, since a server that sends a byte a second never
trips a client's own timeouts. What it answers is trusted only after a look: size, shape, and
whether it is the persona of the number that was asked for.

Retry policy: one more try per fetch, after a random pause, when no connection came about, the
connection broke, or the server said 429 or 5xx; only if the deadline leaves time for it, and only
while retries are about a tenth of all requests (``RetryBudget``).
"""

import asyncio
import random
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Literal
from urllib.parse import quote

import httpx
import structlog

from personas import __version__
from personas.errors import PersonaError, PersonaInvalid, PersonaNotFound, PersonaUnavailable
from personas.model import Persona, find_persona
from personas.phone import DialedNumber, digits_of, parse
from personas.sources.retries import RetryBudget

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

NumberForm = Literal["dialed", "e164", "national"]
NUMBER_FORMS: Final[tuple[NumberForm, ...]] = ("dialed", "e164", "national")
NUMBER_FIELDS: Final = ("mobile", "number", "did", "dialed_number")
MAX_BODY_BYTES: Final = 256 * 1024  # after decompression
RETRY_PAUSE_S: Final = (0.05, 0.2)

_NO_SUCH_NUMBER = frozenset({204, 404, 410})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A persona as the API served it."""

    persona: Persona
    etag: str | None = None
    asked_as: str = ""  # the notation of the number that it was found under; the etag is of that
    age_s: float = 0.0  # how old it was when it came here: another replica may have asked for it


class HttpPersonaSource:
    """Asks the persona API. Give it a client, or it makes one and closes it itself.

    *transport* is what the client that it makes sends its requests through.

    *forms* are the notations to ask in, in order: ``dialed`` (the digits as dialed), ``e164``,
    ``national``. *number_fields* are the fields in which an answer may name its number; one that
    does must name the number asked for. *count* is told the outcome of every request, and its
    seconds.
    """

    def __init__(
        self,
        base: str,
        *,
        token: str | None = None,
        deadline_s: float = 2.0,
        forms: Sequence[NumberForm] = NUMBER_FORMS,
        number_fields: Sequence[str] = NUMBER_FIELDS,
        client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        count: Callable[[str, float], None] | None = None,
        pause_s: Callable[[], float] = lambda: random.uniform(*RETRY_PAUSE_S),  # noqa: S311  (no secret)
        retries: RetryBudget | None = None,
    ) -> None:
        path, self._mark, self._query = base.partition("?")
        self._base = path.rstrip("/")
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"persona-router/{__version__}",
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._deadline_s = deadline_s
        self._forms = tuple(forms)
        self._number_fields = tuple(number_fields)
        self._given = client
        # Cookies would let the API tell calls apart; two numbers must never share a session.
        self._client = client or httpx.AsyncClient(
            transport=transport,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=20),
        )
        self._count = count or (lambda _outcome, _took_s: None)
        self._pause_s = pause_s
        self._retries = retries or RetryBudget()

    async def aclose(self) -> None:
        """Close the client, unless it was given."""
        if self._given is None:
            await self._client.aclose()

    async def fetch(self, dialed: DialedNumber, known: Fetched | None = None) -> Fetched:
        """Ask for the persona of *dialed*; *known* is an older answer for the same number.

        Raises:
            PersonaNotFound: the API knows no such number, in no notation.
            PersonaUnavailable: no usable answer within the deadline; ``reason`` is timeout,
                connect, connection, unauthorized or status_<number>.
            PersonaInvalid: the answer cannot be used as this number's persona; ``reason`` is
                redirect, too_large, encoding, other_number, or why it is no persona.
        """
        fetch, began = _Fetch(pause_s=self._pause_s), time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s) as fetch.scope:
                return await self._any_form(dialed, known, fetch)
        except TimeoutError as exc:
            self._count("timeout", time.perf_counter() - began)
            raise PersonaUnavailable(reason="timeout") from exc

    async def _any_form(
        self, dialed: DialedNumber, known: Fetched | None, fetch: "_Fetch"
    ) -> Fetched:
        refused: PersonaError = PersonaNotFound(reason="not_found")
        for asked_as in self._candidates(dialed):
            etag = known.etag if known and known.asked_as == asked_as else None
            try:
                return await self._asked(asked_as, etag, dialed, known, fetch)
            except PersonaNotFound:
                continue
            except PersonaInvalid as exc:  # in another notation it may know better
                refused = exc
        raise refused

    def _candidates(self, dialed: DialedNumber) -> Iterator[str]:
        number = dialed.number
        if number is None:
            return
        seen = set()
        for form in self._forms:
            if form == "dialed":
                text = dialed.digits
            elif form == "e164":
                text = number.e164
            else:  # the digits of one country's numbers mean another number in the next
                text = number.national if number.region == dialed.region else None
            if text and text not in seen:
                seen.add(text)
                yield text

    async def _asked(
        self,
        asked_as: str,
        etag: str | None,
        dialed: DialedNumber,
        known: Fetched | None,
        fetch: "_Fetch",
    ) -> Fetched:
        """Ask in one notation, with the retry if it is still to be had."""
        self._retries.pay_in()
        while True:
            began = time.perf_counter()
            try:
                fetched = await self._request(asked_as, etag, dialed, known)
            except PersonaError as exc:
                self._count(exc.reason, time.perf_counter() - began)
                if isinstance(exc, _Passing) and await fetch.may_retry(self._retries):
                    continue
                raise
            outcome = "not_modified" if fetched is known else "ok"
            self._count(outcome, time.perf_counter() - began)
            return fetched

    async def _request(
        self, asked_as: str, etag: str | None, dialed: DialedNumber, known: Fetched | None
    ) -> Fetched:
        headers = self._headers | ({"If-None-Match": etag} if etag else {})
        url = f"{self._base}/{quote(asked_as, safe='')}{self._mark}{self._query}"
        try:
            async with self._client.stream(
                "GET", url, headers=headers, follow_redirects=False, timeout=self._deadline_s
            ) as response:
                if etag and known and response.status_code == httpx.codes.NOT_MODIFIED:
                    return known
                _check_status(response.status_code)
                body = await _read(response)
        except httpx.TimeoutException as exc:
            if isinstance(exc, httpx.ConnectTimeout):
                raise _Passing(reason="connect") from exc
            raise PersonaUnavailable(reason="timeout") from exc
        except httpx.ConnectError as exc:
            raise _Passing(reason="connect") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise _Passing(reason="connection") from exc
        found = find_persona(body)
        check_number(found.objects, self._number_fields, asked_as, dialed)
        persona = Persona.from_json(found.raw)
        return Fetched(persona, response.headers.get("etag"), asked_as)


def check_number(
    objects: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    asked_as: str,
    dialed: DialedNumber,
) -> None:
    """Refuse another number's persona, as PersonaInvalid, whatever made its source serve it."""
    for values in objects:
        for field in fields:
            if not _names(values.get(field), asked_as, dialed):
                log.error("persona.refused", reason="other_number", field=field)
                raise PersonaInvalid(reason="other_number")


class _Passing(PersonaUnavailable):
    """Trouble that may have passed a moment later."""


@dataclass(slots=True)
class _Fetch:
    """What the requests of one fetch share: its deadline, and its one retry."""

    pause_s: Callable[[], float]
    scope: asyncio.Timeout | None = None
    retried: bool = False

    async def may_retry(self, budget: RetryBudget) -> bool:
        """Pause and say yes, once, if *budget* has one and there is time for it after the pause."""
        pause_s = self.pause_s()
        ends_at = self.scope.when() if self.scope else None
        left_s = ends_at - asyncio.get_running_loop().time() if ends_at is not None else 0.0
        if self.retried or left_s < 2 * pause_s or not budget.take():
            return False
        self.retried = True
        await asyncio.sleep(pause_s)
        return True


def _check_status(status: int) -> None:
    if status == httpx.codes.OK:
        return
    if status in _NO_SUCH_NUMBER:
        raise PersonaNotFound(reason="not_found")
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        log.error("persona_api.unauthorized", status=status, fix="check PERSONA_API_TOKEN")
        raise PersonaUnavailable(reason="unauthorized")
    if httpx.codes.is_redirect(status):
        raise PersonaInvalid(reason="redirect")
    if status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(status):
        raise _Passing(reason=f"status_{status}")
    raise PersonaInvalid(reason=f"status_{status}")


async def _read(response: httpx.Response) -> bytes:
    """Read the body, never holding more than ``MAX_BODY_BYTES`` of it and one chunk.

    The decompression is done here and not by the client, which would unpack a whole chunk, a
    thousandfold if it wants, before anybody can count.
    """
    try:
        announced = int(response.headers.get("content-length", "0"))
    except ValueError:
        announced = 0
    if announced > MAX_BODY_BYTES:
        raise PersonaInvalid(reason="too_large")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise PersonaInvalid(reason="encoding")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding not in {"", "identity"} else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        room = MAX_BODY_BYTES + 1 - len(body)
        try:
            body += unpack.decompress(chunk, room) if unpack else chunk
        except zlib.error as exc:
            raise PersonaInvalid(reason="encoding") from exc
        if len(body) > MAX_BODY_BYTES:
            raise PersonaInvalid(reason="too_large")
    return bytes(body)


def _names(value: Any, asked_as: str, dialed: DialedNumber) -> bool:
    """Whether *value*, as an answer carries it, is the number that was asked for."""
    if value is None or value == "":
        return True
    if isinstance(value, bool | list | dict):
        return False
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    named = parse(text, dialed.region)
    if named is not None:
        return named == dialed.number
    digits = digits_of(text)
    if "+" in unicodedata.normalize("NFKC", text) or (digits or "").startswith("00"):
        return False  # it claims to be international, and is no number
    return digits == asked_as.removeprefix("+")
