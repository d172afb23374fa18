"""Bodies that are signed and make no sense: recorded ones that were mangled, and made-up ones."""

import json
import random
import time
from collections import Counter
from contextlib import ExitStack
from copy import deepcopy
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from router.answers import DONE
from router.events import MAX_BODY_BYTES, sign
from tests import postgres
from tests.bench.load import KEY, SECRET
from tests.faults.inside import CRASHED, Inside, inside
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.samples import deliveries

BODIES = {"quick": 2_000, "full": 50_000}
_FAULT: Final = 500
_SECRET: Final = SECRET.encode()

_TEXTS: Final = (
    "",
    " ",
    "\0",
    "participant_joined",
    "SIP",
    "\u202e+1312555",
    "٣١٢٥٥٥٠١٠٠",
    "+" * 300,
    "9" * 5_000,
    "-1",
    "1e400",
    "{name}",
    "%s%n",
    "'; DROP TABLE claims; --",
    "../../../etc/passwd",
    "🙃" * 200,
    "a" * 20_000,
    "\ud7ff\uffff",
    "sip:x@[::1]",
)
_VALUES: Final[tuple[Any, ...]] = (
    *_TEXTS,
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    -0.0,
    1e308,
    [],
    {},
    [[]],
    {"": ""},
    [None] * 50,
)
_RAW: Final = (
    b"",
    b"null",
    b"[]",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"id":NaN,"event":Infinity}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b'"\\ud800"',
    b'{"id":"EV_1","event":"\\udfff"}',
    b'{"id":"EV_1","id":"EV_2","event":"participant_joined"}',
    b'{"id":"EV_1","event":"x","createdAt":' + b"9" * 5_000 + b"}",
    b"{}" * 100,
    b" " * 65_000,
)


class Mangler:
    """Makes bodies; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # no secret
        self._samples = [one.body for one in deliveries()]

    def body(self) -> bytes:
        make = self.chance.choice((self._made_up, self._bytes, *[self._document] * 4))
        return make()[:MAX_BODY_BYTES]

    def _made_up(self) -> bytes:
        if self.chance.random() < 0.5:
            return self.chance.choice(_RAW)
        if self.chance.random() < 0.3:
            return self.chance.randbytes(self.chance.randrange(500))
        names = ("id", "event", "room", "participant", "createdAt", "attributes", "sid")
        document = {name: self._value() for name in names if self.chance.random() < 0.7}
        return json.dumps(document).encode()

    def _bytes(self) -> bytes:
        body = bytearray(self.chance.choice(self._samples))
        for _ in range(self.chance.randrange(1, 6)):
            at = self.chance.randrange(len(body) + 1)
            to = min(len(body), at + self.chance.randrange(40))
            what = self.chance.randrange(4)
            if what == 0:
                body[at:to] = b""
            elif what == 1:
                body[at:at] = self.chance.randbytes(self.chance.randrange(1, 20))
            elif what == 2:
                body[at:at] = body[at:to]
            else:
                other = self.chance.choice(self._samples)
                body[at:] = other[self.chance.randrange(len(other)) :]
        return bytes(body)

    def _document(self) -> bytes:
        document = json.loads(self.chance.choice(self._samples))
        if self.chance.random() < 0.7:  # a call that nobody has claimed yet
            document["room"]["sid"] = f"RM_{self.chance.getrandbits(64)}"
            attributes = document.get("participant", {}).get("attributes", {})
            if "sip.callID" in attributes:
                attributes["sip.callID"] = f"SCL_{self.chance.getrandbits(64)}"
        for _ in range(self.chance.randrange(1, 4)):
            holder = self._somewhere(document)
            name = self.chance.choice([*holder, self.chance.choice(_TEXTS)])
            what = self.chance.randrange(4)
            if what == 0:
                holder.pop(name, None)
            elif what == 1:
                holder[self.chance.choice(_TEXTS)] = holder.get(name)
            else:
                holder[name] = self._value()
        return json.dumps(document, ensure_ascii=self.chance.random() < 0.5).encode()

    def _somewhere(self, document: dict[str, Any]) -> dict[str, Any]:
        holder = document
        while self.chance.random() < 0.7:
            inner = [value for value in holder.values() if isinstance(value, dict)]
            if not inner:
                break
            holder = self.chance.choice(inner)
        return holder

    def _value(self) -> Any:
        if self.chance.random() < 0.1:
            return {self.chance.choice(_TEXTS): self._value() for _ in range(3)}
        return deepcopy(self.chance.choice(_VALUES))  # it may be mangled further


async def run(asked: Inside, count: int, seed: int) -> Counter[int]:
    """Send them, each signed; count the statuses, and as ``CRASHED`` what was told of defects."""
    mangler = Mangler(seed)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        body = mangler.body()
        token = sign(body, time.time(), KEY, _SECRET)
        statuses[await asked.ask(body, [(b"authorization", token.encode())])] += 1
    statuses[CRASHED] += len(asked.crashes())
    return statuses


def _seen(statuses: Counter[int], stores: str, told: set[str]) -> Seen:
    faults = sum(count for status, count in statuses.items() if status >= _FAULT)
    shown = ", ".join(f"{s}: {n:,}" for s, n in sorted(statuses.items()) if s > 0 and n)
    which = f" ({', '.join(sorted(told))})" if told else ""
    return Seen(
        holds=not faults and not statuses[CRASHED] and statuses[200] > 0,
        figures=(
            f"over {stores}: {shown}; {faults} of 500 or more, {statuses[CRASHED]} unhandled "
            f"exceptions{which}"
        ),
    )


async def itself(ground: Ground) -> Seen:
    """Run against the router, in full size over both databases."""
    count, statuses, told = BODIES[ground.size], Counter[int](), set[str]()
    urls = {"SQLite": ""}
    with ExitStack() as stack:
        if ground.size == "full" and postgres.binaries() is not None:
            urls["PostgreSQL"] = stack.enter_context(postgres.running()).new_database()
        for seed, (name, url) in enumerate(urls.items()):
            async with inside(ground.folder / name, url) as asked:
                statuses += await run(asked, count // len(urls), seed)
                told |= set(asked.crashes())
    return _seen(statuses, " and ".join(urls), told)


async def lets_errors_through(ground: Ground) -> Seen:
    """Run against a handler that reads the body as if it were always what LiveKit sends."""

    async def trusts(_scope: Scope, receive: Receive, send: Send) -> None:
        document = json.loads((await receive())["body"])
        int(document.get("createdAt", "0"))
        for message in DONE.messages:
            await send(message)

    async with inside(ground.folder) as asked:
        asked.app = trusts
        return _seen(await run(asked, BODIES["quick"], 0), "nothing", set())


SCENARIOS = (
    Scenario(
        name="fuzz",
        fault="fuzzed bodies under good signatures",
        must="0 answers of 500, 0 unhandled exceptions",
        run=itself,
        controls=(
            Control(
                name="lets_errors_through",
                bad="lets the errors of reading a body through",
                run=lets_errors_through,
            ),
        ),
    ),
)
