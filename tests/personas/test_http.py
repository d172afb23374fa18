import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import respx
from structlog.testing import capture_logs

from personas.errors import PersonaError, PersonaInvalid, PersonaNotFound, PersonaUnavailable
from personas.phone import DialedNumber, read_dialed
from personas.sources.http import MAX_BODY_BYTES, Fetched, HttpPersonaSource
from personas.sources.retries import RetryBudget
from tests.fakes_personas import document
from tests.servers import serving

BASE = "https://personas.example/mobile"
DIALED = read_dialed("8655701159", "US")
E164_DIALED = read_dialed("+18655701159", "US")
PERSONA = {"personality": "You are Priya."}


class Api:
    """The source under test against mocked answers, and what it counted."""

    def __init__(self, **options: Any) -> None:
        self.counted: list[str] = []
        options.setdefault("pause_s", lambda: 0.0)
        options.setdefault("count", lambda outcome, _took_s: self.counted.append(outcome))
        self.source = HttpPersonaSource(options.pop("base", BASE), **options)

    async def fetch(self, dialed: DialedNumber = DIALED, known: Fetched | None = None) -> Fetched:
        try:
            return await self.source.fetch(dialed, known)
        finally:
            await self.source.aclose()

    async def error(self, dialed: DialedNumber = DIALED) -> PersonaError:
        with pytest.raises(PersonaError) as caught:
            await self.fetch(dialed)
        assert "8655701159" not in f"{caught.value!r} {caught.value}"
        return caught.value


def urls(mock: respx.MockRouter) -> list[str]:
    return [str(call.request.url) for call in mock.calls]


@respx.mock
async def test_the_number_as_dialed_is_asked_for_first() -> None:
    route = respx.get(f"{BASE}/8655701159").respond(json=document("8655701159"))
    api = Api(token="s3cret")

    fetched = await api.fetch()

    request = route.calls.last.request
    assert fetched.persona.document == document("8655701159")
    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.headers["accept"] == "application/json"
    assert "if-none-match" not in request.headers
    assert api.counted == ["ok"]


@respx.mock
async def test_no_token_no_authorization() -> None:
    route = respx.get(url__startswith=BASE).respond(json=PERSONA)

    await Api().fetch()

    assert "authorization" not in route.calls.last.request.headers


@respx.mock
async def test_then_e164_then_the_national_form_each_once() -> None:
    respx.get(url__startswith=BASE).respond(404)
    api = Api()

    error = await api.error(read_dialed("0049 30 901820", "DE"))

    assert isinstance(error, PersonaNotFound)
    assert urls(respx.mock) == [
        f"{BASE}/004930901820",
        f"{BASE}/%2B4930901820",
        f"{BASE}/030901820",
    ]
    assert api.counted == ["not_found"] * 3


@respx.mock
async def test_a_notation_that_is_the_same_twice_is_asked_for_once() -> None:
    respx.get(url__startswith=BASE).respond(404)

    await Api().error(DIALED)

    assert urls(respx.mock) == [f"{BASE}/8655701159", f"{BASE}/%2B18655701159"]


@respx.mock
async def test_the_national_form_is_kept_from_calls_of_another_region() -> None:
    respx.get(url__startswith=BASE).respond(404)

    await Api().error(read_dialed("+4930901820", "US"))

    assert urls(respx.mock) == [f"{BASE}/4930901820", f"{BASE}/%2B4930901820"]


@respx.mock
async def test_the_notations_can_be_configured() -> None:
    respx.get(url__startswith=BASE).respond(404)

    await Api(forms=("national", "e164")).error(E164_DIALED)

    assert urls(respx.mock) == [f"{BASE}/8655701159", f"{BASE}/%2B18655701159"]


async def test_an_unknown_number_is_not_asked_for() -> None:
    assert isinstance(await Api().error(read_dialed("1001", "US")), PersonaNotFound)


@respx.mock
async def test_a_query_in_the_base_stays_behind_the_number() -> None:
    respx.get(url__startswith=BASE).respond(json=PERSONA)

    await Api(base=f"{BASE}/?tenant=17").fetch()

    assert urls(respx.mock) == [f"{BASE}/8655701159?tenant=17"]


@respx.mock
@pytest.mark.parametrize("status", [204, 404, 410])
async def test_a_number_the_api_does_not_have_is_not_found(status: int) -> None:
    respx.get(url__startswith=BASE).respond(status)

    assert isinstance(await Api().error(), PersonaNotFound)


@respx.mock
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_raises_the_alarm_without_showing_it(status: int) -> None:
    respx.get(url__startswith=BASE).respond(status)
    api = Api(token="s3cret")

    with capture_logs() as logs:
        error = await api.error()

    assert isinstance(error, PersonaUnavailable)
    assert error.reason == "unauthorized"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("persona_api.unauthorized", "error")
    ]
    assert "s3cret" not in repr(logs)
    assert len(respx.calls) == 1


@respx.mock
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    elsewhere = respx.get("https://elsewhere.example/").respond(json=PERSONA)
    respx.get(url__startswith=BASE).respond(
        status, headers={"Location": "https://elsewhere.example/"}
    )

    error = await Api().error()

    assert isinstance(error, PersonaInvalid)
    assert error.reason == "redirect"
    assert not elsewhere.called


@respx.mock
async def test_a_given_client_that_follows_redirects_does_not_here() -> None:
    respx.get("https://elsewhere.example/").respond(json=PERSONA)
    respx.get(url__startswith=BASE).respond(302, headers={"Location": "https://elsewhere.example/"})

    async with httpx.AsyncClient(follow_redirects=True) as client:
        error = await Api(client=client).error()

        assert error.reason == "redirect"
        assert not client.is_closed


@respx.mock
@pytest.mark.parametrize("status", [100, 202, 206, 300, 304, 400, 405, 418, 422, 451])
async def test_any_other_status_is_no_persona(status: int) -> None:
    respx.get(url__startswith=BASE).respond(status, json=PERSONA)

    error = await Api().error()

    assert isinstance(error, PersonaInvalid)
    assert error.reason in {f"status_{status}", "redirect"}


@respx.mock
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_passing_trouble_is_tried_once_more(status: int) -> None:
    respx.get(f"{BASE}/8655701159").mock(
        side_effect=[httpx.Response(status), httpx.Response(200, json=PERSONA)]
    )
    api = Api()

    await api.fetch()

    assert api.counted == [f"status_{status}", "ok"]


@respx.mock
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_that_stays_is_tried_no_more_than_once(status: int) -> None:
    respx.get(url__startswith=BASE).respond(status)

    error = await Api().error()

    assert isinstance(error, PersonaUnavailable)
    assert error.reason == f"status_{status}"
    assert len(respx.calls) == 2


@respx.mock
async def test_there_is_one_retry_for_all_notations_together() -> None:
    respx.get(f"{BASE}/8655701159").mock(side_effect=[httpx.Response(500), httpx.Response(404)])
    respx.get(f"{BASE}/%2B18655701159").respond(500)

    assert (await Api().error()).reason == "status_500"
    assert len(respx.calls) == 3


@respx.mock
async def test_a_retry_that_the_deadline_does_not_allow_is_left_out() -> None:
    respx.get(url__startswith=BASE).respond(500)

    assert (await Api(pause_s=lambda: 1.5).error()).reason == "status_500"
    assert len(respx.calls) == 1


def test_the_pause_before_a_retry_is_random_and_short() -> None:
    source = HttpPersonaSource(BASE)

    pauses = {source._pause_s() for _ in range(20)}

    assert len(pauses) > 1
    assert all(0.05 <= pause <= 0.2 for pause in pauses)


@respx.mock
@pytest.mark.parametrize(
    ("failure", "reason", "requests"),
    [
        (httpx.ConnectError("x"), "connect", 2),
        (httpx.ConnectTimeout("x"), "connect", 2),
        (httpx.RemoteProtocolError("x"), "connection", 2),
        (httpx.ReadError("x"), "connection", 2),
        (httpx.ReadTimeout("x"), "timeout", 1),
        (httpx.PoolTimeout("x"), "timeout", 1),
    ],
)
async def test_a_broken_connection_is_unavailable(
    failure: httpx.HTTPError, reason: str, requests: int
) -> None:
    respx.get(url__startswith=BASE).mock(side_effect=failure)

    error = await Api().error()

    assert isinstance(error, PersonaUnavailable)
    assert error.reason == reason
    assert len(respx.calls) == requests


@respx.mock
async def test_an_unchanged_persona_is_not_sent_again() -> None:
    etag = '"v1"'
    route = respx.get(f"{BASE}/8655701159")
    route.respond(json=PERSONA, headers={"ETag": etag})
    known = await Api().fetch()
    route.respond(304)
    api = Api()

    again = await api.fetch(known=known)

    assert again is known
    assert route.calls.last.request.headers["if-none-match"] == etag
    assert api.counted == ["not_modified"]


@respx.mock
async def test_an_etag_is_for_the_notation_that_it_came_with() -> None:
    first = respx.get(f"{BASE}/8655701159").respond(404)
    second = respx.get(f"{BASE}/%2B18655701159").respond(json=PERSONA, headers={"ETag": '"v1"'})
    known = await Api().fetch()
    second.respond(304)

    assert await Api().fetch(known=known) is known
    assert "if-none-match" not in first.calls.last.request.headers
    assert second.calls.last.request.headers["if-none-match"] == '"v1"'


@respx.mock
async def test_not_modified_without_having_asked_is_no_persona() -> None:
    respx.get(url__startswith=BASE).respond(304)

    assert (await Api().error()).reason == "redirect"


@respx.mock
@pytest.mark.parametrize(
    "answer",
    [
        PERSONA,
        {"data": PERSONA},
        {"status": True, "mobile": "8655701159", "data": {"persona": PERSONA}},
        {"data": [PERSONA]},
    ],
)
async def test_the_persona_is_taken_out_of_its_envelope(answer: Any) -> None:
    respx.get(url__startswith=BASE).respond(json=answer)

    assert (await Api().fetch()).persona.document == PERSONA


@respx.mock
async def test_the_content_type_is_not_trusted() -> None:
    respx.get(url__startswith=BASE).respond(
        text=json.dumps(PERSONA), headers={"Content-Type": "text/html; charset=latin-1"}
    )

    assert (await Api().fetch()).persona.personality == "You are Priya."


@respx.mock
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"<html>", "not_json"),
        (b"\xff", "not_utf8"),
        (b"[]", "not_an_object"),
        (b"{}", "no_persona"),
        (b'{"data":null}', "no_persona"),
        (b'{"personality":5}', "wrong_fields"),
        (b"[" * 100_000, "too_deep"),
    ],
)
async def test_garbage_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    respx.get(url__startswith=BASE).respond(content=body)

    error = await Api().error()

    assert isinstance(error, PersonaInvalid)
    assert error.reason == reason


# ---- whose persona is it --------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize("field", ["mobile", "number", "did", "dialed_number"])
@pytest.mark.parametrize(
    "value",
    [
        "8655701159",
        8655701159,
        8655701159.0,
        "+18655701159",
        "0018655701159",
        18655701159,
        "(865) 570-1159",
        "tel:+18655701159",
        None,
        "",
    ],
)
async def test_an_answer_may_name_its_number_in_any_notation(field: str, value: Any) -> None:
    respx.get(url__startswith=BASE).respond(json=PERSONA | {field: value})

    assert (await Api().fetch()).persona.personality == "You are Priya."


@respx.mock
@pytest.mark.parametrize("field", ["mobile", "number", "did", "dialed_number"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        "8655701160",
        8655701160,
        "+18655701160",
        "+918655701159",
        "+8655701159",
        "\uff0b0000008655701159",
        "008655701159",
        "nobody",
        True,
        ["8655701159"],
        {"number": "8655701159"},
        8655701159.5,
    ],
)
async def test_another_numbers_persona_is_refused_and_counted(
    field: str, nested: bool, value: Any
) -> None:
    answer = {field: value, "data": PERSONA} if nested else PERSONA | {field: value}
    respx.get(url__startswith=BASE).respond(json=answer)
    api = Api()

    with capture_logs() as logs:
        error = await api.error()

    assert isinstance(error, PersonaInvalid)
    assert error.reason == "other_number"
    assert set(api.counted) == {"other_number"}
    assert logs[0]["event"] == "persona.refused"
    assert "865" not in repr(logs)


@respx.mock
async def test_without_a_region_the_same_digits_name_the_same_number() -> None:
    respx.get(url__startswith=BASE).respond(json=PERSONA | {"mobile": "18655701159"})
    respx.get(f"{BASE}/%2B918655701159").respond(json=PERSONA | {"mobile": "8655701159"})

    await Api().fetch(read_dialed("+18655701159"))

    assert (await Api(forms=("e164",)).error(read_dialed("+918655701159"))).reason == "other_number"


@respx.mock
async def test_digits_that_are_no_number_by_themselves_have_to_be_those_asked_for() -> None:
    # +1 555 … is possible, so it can be dialed; not valid, so without a plus it reads as nothing
    dialed = read_dialed("+15555550100", "US")
    respx.get(f"{BASE}/15555550100").respond(json=PERSONA | {"mobile": "15555550100"})

    assert (await Api().fetch(dialed)).persona.personality == "You are Priya."


@respx.mock
async def test_the_fields_that_name_a_number_can_be_configured() -> None:
    respx.get(url__startswith=BASE).respond(
        json=PERSONA | {"mobile": "8655701160", "line": "8655701160"}
    )

    assert (await Api(number_fields=()).fetch()).persona.personality == "You are Priya."
    assert (await Api(number_fields=("line",)).error()).reason == "other_number"


@respx.mock
async def test_an_api_that_misreads_one_notation_is_asked_in_the_next() -> None:
    respx.get(f"{BASE}/8655701159").respond(json=document("+918655701159"))
    respx.get(f"{BASE}/%2B18655701159").respond(json=document("+18655701159"))
    api = Api()

    fetched = await api.fetch()

    assert fetched.persona.document == document("+18655701159")
    assert api.counted == ["other_number", "ok"]


@respx.mock
async def test_one_unusable_answer_is_not_the_same_as_no_such_number() -> None:
    respx.get(f"{BASE}/8655701159").respond(json=document("+918655701159"))
    respx.get(f"{BASE}/%2B18655701159").respond(404)

    assert (await Api().error()).reason == "other_number"


# ---- size -----------------------------------------------------------------------------------


def sized(size: int) -> bytes:
    empty = len(json.dumps({"personality": ""}))
    return json.dumps({"personality": "x" * (size - empty)}).encode()


@respx.mock
@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
@pytest.mark.parametrize(("over", "fits"), [(0, True), (1, False)])
async def test_the_cap_is_on_what_was_unpacked(encoding: str, over: int, fits: bool) -> None:
    body = sized(MAX_BODY_BYTES + over)
    packers: dict[str, Any] = {"gzip": gzip.compress, "deflate": zlib.compress}
    packed = packers.get(encoding, bytes)(body)
    respx.get(url__startswith=BASE).mock(
        return_value=httpx.Response(
            200, headers={"Content-Encoding": encoding}, stream=Chunks(packed, 4096)
        )
    )

    if fits:
        await Api().fetch()
    else:
        assert (await Api().error()).reason == "too_large"


class Chunks(httpx.AsyncByteStream):
    """A body in pieces; remembers how much of it was taken."""

    def __init__(self, body: bytes, size: int) -> None:
        self.body, self.size, self.taken = body, size, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), self.size):
            self.taken += 1
            yield self.body[start : start + self.size]


@respx.mock
async def test_a_gzip_bomb_is_left_unexploded() -> None:
    bomb = Chunks(gzip.compress(b"0" * 64 * 1024 * 1024), 16 * 1024)
    respx.get(url__startswith=BASE).mock(
        return_value=httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=bomb)
    )

    assert (await Api(forms=("dialed",)).error()).reason == "too_large"
    assert bomb.taken == 1


@respx.mock
async def test_an_announced_size_is_refused_before_anything_is_read() -> None:
    body = Chunks(b"{", 1)
    respx.get(url__startswith=BASE).mock(
        return_value=httpx.Response(
            200, headers={"Content-Length": str(MAX_BODY_BYTES + 1)}, stream=body
        )
    )

    assert (await Api().error()).reason == "too_large"
    assert body.taken == 0


@respx.mock
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip"])
async def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    respx.get(url__startswith=BASE).mock(
        side_effect=lambda _request: httpx.Response(
            200,
            headers={"Content-Encoding": encoding, "Content-Length": "?"},
            stream=Chunks(b'{"personality":"p"}', 100),
        )
    )

    assert (await Api().error()).reason == "encoding"


# ---- a real server --------------------------------------------------------------------------


def local(port: int) -> str:
    return f"http://127.0.0.1:{port}/mobile"


async def test_a_dripping_server_is_cut_off_by_the_total_deadline() -> None:
    drips = 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal drips
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                drips += 1
                await writer.drain()
                await asyncio.wait_for(reader.read(1), 0.02)
                return  # the client has gone
        except TimeoutError:
            await drip_on(reader, writer)
        finally:
            writer.close()

    async def drip_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal drips
        gone = asyncio.ensure_future(reader.read(1))
        while not (await asyncio.wait({gone}, timeout=0.02))[0]:
            writer.write(b" ")
            drips += 1

    async with serving(drip) as port:
        loop = asyncio.get_running_loop()
        started = loop.time()
        api = Api(base=local(port), deadline_s=0.3)

        error = await api.error()

        assert isinstance(error, PersonaUnavailable)
        assert error.reason == "timeout"
        assert 0.25 < loop.time() - started < 10.0  # of the hours that it drips
        assert drips > 3
        assert api.counted == ["timeout"]


async def test_cookies_of_one_answer_are_not_sent_with_the_next() -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        body = json.dumps(PERSONA).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async with serving(answer) as port:
        source = HttpPersonaSource(local(port))
        await source.fetch(DIALED)
        await source.fetch(DIALED)
        await source.aclose()

    assert len(requests) == 2
    assert all(b"cookie" not in request.lower() for request in requests)


async def test_nobody_listening_is_unavailable() -> None:
    async with serving(lambda *_: None) as port:
        pass

    assert (await Api(base=local(port)).error()).reason == "connect"


@respx.mock
async def test_being_cancelled_is_passed_on() -> None:
    begun = asyncio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    respx.get(url__startswith=BASE).mock(side_effect=hang)
    task = asyncio.create_task(Api().fetch())
    await begun.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@respx.mock
async def test_an_api_that_fails_as_a_whole_gets_few_retries() -> None:
    respx.get(url__startswith=BASE).respond(503)
    source = HttpPersonaSource(BASE, pause_s=lambda: 0.0, retries=RetryBudget(reserve=2))

    for _ in range(50):
        with pytest.raises(PersonaUnavailable):
            await source.fetch(E164_DIALED)
    await source.aclose()

    assert 50 + 2 <= respx.mock.calls.call_count <= 50 + 2 + 5
