"""Deliveries that LiveKit did not send: twenty ways to make one that looks as if it had."""

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from starlette.types import Receive, Scope, Send

from router import events, tokens
from router.answers import BY_STATUS, DONE
from router.errors import RouterError
from router.events import TOKEN_S
from tests.bench import load
from tests.bench.load import KEY, SECRET
from tests.faults.inside import Headers, Inside, inside
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size

FORGED = {"quick": 2_000, "full": 100_000}
GENUINE = {"quick": 200, "full": 10_000}
SECRET_BYTES: Final = SECRET.encode()
REFUSED: Final = frozenset({400, 401, 413})

Forgery: TypeAlias = tuple[bytes, Headers]
Claims: TypeAlias = dict[str, Any]


class Forger:
    """Knows a genuine delivery, and in some classes the secret, and makes another out of it."""

    def __init__(self, body: bytes, chance: random.Random) -> None:
        self.body = body
        self.chance = chance
        self.now = int(time.time())

    # ---- what genuine ones are made of ----

    def claims(self, body: bytes | None = None) -> Claims:
        digest = hashlib.sha256(self.body if body is None else body).digest()
        return {
            "iss": KEY,
            "iat": self.now,
            "nbf": self.now,
            "exp": self.now + TOKEN_S,
            "sha256": base64.b64encode(digest).decode(),
        }

    def token(
        self,
        claims: Claims | None = None,
        *,
        header: Mapping[str, Any] | None = None,
        secret: bytes = SECRET_BYTES,
        digest: str = "sha256",
    ) -> str:
        head = _segment(header or {"alg": "HS256", "typ": "JWT"})
        signed = f"{head}.{_segment(claims or self.claims())}"
        made = hmac.new(secret, signed.encode(), digest).digest()
        return f"{signed}.{_base64url(made)}"

    def send(self, token: str, body: bytes | None = None) -> Forgery:
        return self.body if body is None else body, [(b"authorization", token.encode())]

    # ---- the twenty classes ----

    def wrong_secret(self) -> Forgery:
        return self.send(self.token(secret=self.chance.randbytes(32)))

    def algorithm_none(self) -> Forgery:
        none = self.chance.choice(["none", "None", "NONE", "nOnE"])
        unsigned = self.token(header={"alg": none, "typ": "JWT"}).rpartition(".")[0]
        return self.send(f"{unsigned}.")

    def other_hash(self) -> Forgery:
        name, digest = self.chance.choice([("HS512", "sha512"), ("HS384", "sha384")])
        return self.send(self.token(header={"alg": name, "typ": "JWT"}, digest=digest))

    def public_key_confusion(self) -> Forgery:
        name = self.chance.choice(["RS256", "ES256", "PS256", "EdDSA"])
        return self.send(self.token(header={"alg": name, "typ": "JWT"}))

    def key_injected(self) -> Forgery:
        key = self.chance.randbytes(32)
        own = {"alg": "HS256", "kid": "own", "jwk": {"kty": "oct", "k": _base64url(key)}}
        return self.send(self.token(header=own, secret=key))

    def key_id_as_path(self) -> Forgery:
        header = {"alg": "HS256", "kid": "../../../../dev/null", "typ": "JWT"}
        return self.send(self.token(header=header, secret=b""))

    def byte_flipped(self) -> Forgery:
        body = bytearray(self.body)
        body[self.chance.randrange(len(body))] ^= 1 << self.chance.randrange(8)
        return self.send(self.token(), bytes(body))

    def truncated(self) -> Forgery:
        return self.send(self.token(), self.body[: self.chance.randrange(len(self.body))])

    def space_added(self) -> Forgery:
        space = self.chance.choice([b" ", b"\n", b"\r\n", b"\t"])
        before = self.chance.random() < 0.5
        return self.send(self.token(), space + self.body if before else self.body + space)

    def token_of_another_body(self) -> Forgery:
        other = self.body.replace(b"sip", b"SIP", 1)
        return self.send(self.token(self.claims(other)))

    def no_hash(self) -> Forgery:
        claims = self.claims()
        del claims["sha256"]
        return self.send(self.token(claims))

    def hash_of_another_kind(self) -> Forgery:
        wrong: list[Any] = [None, "", 0, True, [], {}, hashlib.sha256(self.body).hexdigest()]
        return self.send(self.token(self.claims() | {"sha256": self.chance.choice(wrong)}))

    def participants_token(self) -> Forgery:
        grant = {"video": {"roomJoin": True, "room": "any"}, "sub": "caller"}
        claims = {"iss": KEY, "nbf": self.now, "exp": self.now + TOKEN_S}
        return self.send(self.token(claims | grant))

    def no_expiry(self) -> Forgery:
        claims = self.claims()
        if self.chance.random() < 0.5:
            del claims["exp"]
        else:
            claims["exp"] = self.chance.choice(["9999999999", None, True, 1e300, []])
        return self.send(self.token(claims))

    def expired(self) -> Forgery:
        ago = self.chance.randrange(120, 10_000_000)
        return self.send(self.token(self.claims() | {"exp": self.now - ago}))

    def not_yet_valid(self) -> Forgery:
        ahead = self.chance.randrange(120, 10_000_000)
        return self.send(self.token(self.claims() | {"nbf": self.now + ahead}))

    def wrong_issuer(self) -> Forgery:
        issuers: list[Any] = ["", "other", KEY.upper(), f"{KEY} ", None, [KEY], {"": KEY}]
        return self.send(self.token(self.claims() | {"iss": self.chance.choice(issuers)}))

    def no_token(self) -> Forgery:
        headers: list[Headers] = [
            [],
            [(b"authorization", b"")],
            [(b"authorization", b"Bearer ")],
            [(b"authorization", b"Bearer x.y.z")],
            [(b"authorization", b"Basic " + base64.b64encode(b"user:word"))],
            [(b"authorization", self.chance.randbytes(60))],
            [(b"x-authorization", self.token().encode())],
        ]
        return self.body, self.chance.choice(headers)

    def twice(self) -> Forgery:
        good, bad = self.token().encode(), self.token(secret=b"x" * 32).encode()
        return self.body, [(b"authorization", good), (b"authorization", bad)]

    def signature_spelt_otherwise(self) -> Forgery:
        signed, _, signature = self.token().rpartition(".")
        last = _ALPHABET[_ALPHABET.index(signature[-1]) ^ self.chance.choice([1, 2, 3])]
        spelt = [
            signature[:-1] + last,  # bits that base64 ignores
            signature + "=",
            signature + "\n",
            f" {signature}",
            signature[:-1],
            "",
        ]
        if signature.translate(_STANDARD) != signature:
            spelt.append(signature.translate(_STANDARD))
        return self.send(f"{signed}.{self.chance.choice(spelt)}")


_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STANDARD: Final = str.maketrans("-_", "+/")
CLASSES: Final[tuple[Callable[[Forger], Forgery], ...]] = (
    Forger.wrong_secret,
    Forger.algorithm_none,
    Forger.other_hash,
    Forger.public_key_confusion,
    Forger.key_injected,
    Forger.key_id_as_path,
    Forger.byte_flipped,
    Forger.truncated,
    Forger.space_added,
    Forger.token_of_another_body,
    Forger.no_hash,
    Forger.hash_of_another_kind,
    Forger.participants_token,
    Forger.no_expiry,
    Forger.expired,
    Forger.not_yet_valid,
    Forger.wrong_issuer,
    Forger.no_token,
    Forger.twice,
    Forger.signature_spelt_otherwise,
)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _segment(document: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(document).encode())


async def run(size: Size, asked: Inside) -> Seen:
    """Send the forged and the genuine ones, mixed."""
    chance = random.Random(20)  # noqa: S311  # the same run each time
    forged, genuine = FORGED[size], GENUINE[size]
    accepted: dict[str, int] = {}
    refused = sent = calls = 0
    bodies: list[bytes] = []
    for number in range(forged):
        if number % (forged // genuine) == 0:  # in between, a genuine one
            if not bodies:
                bodies = [_body(one) for one in load.call(load.number(calls))]
                calls += 1
            body = bodies.pop(0)
            sent += 1
            refused += await asked.ask(*Forger(body, chance).send(_sign(body))) != 200
        joined = _body(load.call(load.number(number))[load.JOIN])
        make = CLASSES[number % len(CLASSES)]
        status = await asked.ask(*make(Forger(joined, chance)))
        if status not in REFUSED:
            accepted[make.__name__] = accepted.get(make.__name__, 0) + 1
    claimed, dispatched = await asked.claimed(), len(asked.livekit.dispatched)
    effects = max(claimed, dispatched) - min(calls, claimed, dispatched)
    which = f" ({', '.join(sorted(accepted))})" if accepted else ""
    return Seen(
        holds=not accepted and not refused and not effects and claimed == dispatched == calls,
        figures=(
            f"{forged:,} forged in {len(CLASSES)} classes: {sum(accepted.values()):,} accepted"
            f"{which}, {effects:,} with an effect; {sent:,} genuine: {refused:,} refused"
        ),
    )


def _body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def _sign(body: bytes) -> str:
    return events.sign(body, time.time(), KEY, SECRET_BYTES)


async def itself(ground: Ground) -> Seen:
    """Run against the router."""
    async with inside(ground.folder) as asked:
        return await run(ground.size, asked)


async def without_body_hash(ground: Ground) -> Seen:
    """Run against a verifier that believes a good token, whatever the body is."""
    async with inside(ground.folder) as asked:
        services = asked.services

        async def believes(scope: Scope, receive: Receive, send: Send) -> None:
            headers = dict(scope["headers"])
            answer = DONE
            try:
                token = headers.get(b"authorization", b"").decode("latin-1")
                now = services.clock()
                tokens.read(token, services.keys, now, leeway_s=events.LEEWAY_S)
                document = events._document((await receive())["body"])
                await services.inbound.take(events._event(document))
            except RouterError as exc:
                answer = BY_STATUS[getattr(exc, "status", 401)]
            for message in answer.messages:
                await send(message)

        asked.app = believes
        return await run("quick", asked)


SCENARIOS = (
    Scenario(
        name="forged",
        fault="forged deliveries of 20 classes, with genuine ones in between",
        must="no forged one accepted, none with an effect; all genuine ones accepted",
        run=itself,
        controls=(
            Control(
                name="without_body_hash",
                bad="believes a token without the hash of the body",
                run=without_body_hash,
            ),
        ),
    ),
)
