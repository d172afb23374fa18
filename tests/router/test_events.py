"""Verification: bytes in, a verified event or one kind of refusal out."""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from livekit import api

from router.errors import DeliveryRefused
from router.events import LEEWAY_S, MAX_BODY_BYTES, TOKEN_S, sign, verify
from tests.samples import KEY, SECRET, Delivery, deliveries

NOW = 1_800_000_000.0
KEYS = {KEY: SECRET}
BODY = b'{"event":"participant_joined","id":"EV_1","createdAt":"1800000000"}'
OTHER_SECRET = b"another-secret-another-secret-another"


def digest(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def claims(body: bytes = BODY, **changed: Any) -> dict[str, Any]:
    whole = {"iss": KEY, "nbf": NOW, "exp": NOW + TOKEN_S, "sha256": digest(body)} | changed
    return {name: value for name, value in whole.items() if value is not None}


def token(
    body: bytes = BODY, secret: bytes = SECRET, algorithm: str = "HS256", **changed: Any
) -> str:
    return jwt.encode(claims(body, **changed), secret, algorithm=algorithm)


def refusal(authorization: str | None, body: bytes = BODY, now: float = NOW) -> tuple[int, str]:
    with pytest.raises(DeliveryRefused) as caught:
        verify(authorization, body, now, KEYS)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize("name", ["livekit_deliveries", "sip_outbound_deliveries"])
def test_every_recorded_delivery_is_accepted_at_the_time_it_was_received(name: str) -> None:
    for delivery in deliveries(name):
        event = verify(delivery.authorization, delivery.body, delivery.received_at, KEYS)

        document = json.loads(delivery.body)
        assert event.event_id == document["id"]
        assert event.name == document["event"]
        assert event.room == document["room"]["name"]
        assert (event.participant is not None) == ("participant" in document)


def test_the_participant_of_a_recorded_caller_is_read_whole() -> None:
    joined = deliveries()[1]

    event = verify(joined.authorization, joined.body, joined.received_at, KEYS)

    assert event.participant is not None
    assert event.participant.kind == "SIP"
    assert event.participant.attributes["sip.trunkPhoneNumber"] == "8655701159"
    assert event.created_at == float(json.loads(joined.body)["createdAt"])


def test_a_recorded_delivery_is_refused_once_its_token_and_the_leeway_have_run_out() -> None:
    delivery = deliveries()[0]
    late = delivery.received_at + TOKEN_S + LEEWAY_S + 1

    assert refusal_of(delivery, late) == (401, "expired")


def refusal_of(delivery: Delivery, now: float) -> tuple[int, str]:
    return refusal(delivery.authorization, delivery.body, now)


def test_what_we_sign_is_accepted_by_livekits_own_receiver() -> None:
    signed = sign(BODY, time.time(), KEY, SECRET)

    receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET.decode()))
    assert receiver.receive(BODY.decode(), signed).id == "EV_1"


def test_each_of_several_keys_may_sign() -> None:
    keys = {KEY: SECRET, "next": OTHER_SECRET}

    for key, secret in keys.items():
        assert verify(sign(BODY, NOW, key, secret), BODY, NOW, keys).event_id == "EV_1"


def test_a_bearer_prefix_is_accepted() -> None:
    assert verify(f"Bearer {token()}", BODY, NOW, KEYS).event_id == "EV_1"


@pytest.mark.parametrize("offset", [-LEEWAY_S, 0, TOKEN_S, TOKEN_S + LEEWAY_S])
def test_the_leeway_is_a_minute_either_way(offset: float) -> None:
    assert verify(token(), BODY, NOW + offset, KEYS).event_id == "EV_1"


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        pytest.param(None, "no_token", id="none"),
        pytest.param("", "no_token", id="empty"),
        pytest.param("Bearer ", "bad_token", id="bearer-alone"),
        pytest.param("abc", "bad_token", id="no-dots"),
        pytest.param("a.b.c.d", "bad_token", id="four-parts"),
        pytest.param("ä.b.c", "bad_token", id="not-ascii"),
        pytest.param("a" * 5000 + ".b.c", "bad_token", id="too-long"),
        pytest.param(token(secret=OTHER_SECRET), "bad_signature", id="other-secret"),
        pytest.param(token(iss="stranger"), "unknown_key", id="unknown-key"),
        pytest.param(token(iss=None), "unknown_key", id="no-issuer"),
        pytest.param(token(secret=SECRET * 2, algorithm="HS512"), "bad_algorithm", id="hs512"),
        pytest.param(jwt.encode(claims(), "", algorithm="none"), "bad_token", id="unsigned"),
        pytest.param(token(exp=None), "no_exp", id="no-exp"),
        pytest.param(token(nbf=None), "no_nbf", id="no-nbf"),
        pytest.param(token(exp=10**400), "no_exp", id="exp-beyond-any-clock"),
        pytest.param(token(exp=NOW - LEEWAY_S - 1), "expired", id="expired"),
        pytest.param(token(nbf=NOW + LEEWAY_S + 1), "not_yet_valid", id="from-the-future"),
        pytest.param(token(sha256=None), "no_body_hash", id="no-hash"),
        pytest.param(token(sha256=""), "no_body_hash", id="empty-hash"),
        pytest.param(token(sha256=7), "no_body_hash", id="hash-is-a-number"),
        pytest.param(token(sha256=digest(b"else")), "other_body", id="hash-of-another-body"),
        pytest.param(token(sha256="%%%"), "other_body", id="hash-is-not-base64"),
    ],
)
def test_what_is_not_ours_is_401(authorization: str | None, reason: str) -> None:
    assert refusal(authorization) == (401, reason)


@pytest.mark.parametrize("kind", ["standard", "agent"])
def test_a_participants_or_agents_token_of_the_same_key_is_no_webhook(kind: Any) -> None:
    access = api.AccessToken(KEY, SECRET.decode()).with_identity("x").with_kind(kind)
    access = access.with_grants(api.VideoGrants(room_join=True, room="r", agent=kind == "agent"))

    assert refusal(access.to_jwt(), now=time.time()) == (401, "no_body_hash")


def test_a_changed_body_is_not_ours() -> None:
    assert refusal(token(), BODY + b" ") == (401, "other_body")


def test_a_body_over_the_limit_is_413_and_is_not_even_hashed() -> None:
    assert refusal(token(), b" " * (MAX_BODY_BYTES + 1)) == (413, "too_large")


RUBBISH: list[tuple[str, bytes]] = [
    ("list", b"[]"),
    ("string", b'"x"'),
    ("number", b"1"),
    ("empty", b""),
    ("depth-bomb", b"[" * 60_000),
    ("deep-objects", b'{"a":' * 9000 + b"1" + b"}" * 9000),
    ("nan", b'{"event":"x","id":"y","createdAt":NaN}'),
    ("infinity", b'{"event":"x","id":"y","createdAt":Infinity}'),
    ("lone-surrogate", b'{"event":"x","id":"\\ud800"}'),
    ("encoded-surrogate", b'{"event":"x","id":"\xed\xa0\x80"}'),
    ("not-utf8", b'{"event":"\xff"}'),
    ("huge-number", b'{"event":"x","id":"y","createdAt":' + b"9" * 5000 + b"}"),
    ("no-id", b'{"event":"participant_joined"}'),
    ("no-event", b'{"id":"EV_1"}'),
    ("event-is-a-number", b'{"event":1,"id":"EV_1"}'),
    ("room-is-a-list", b'{"event":"x","id":"y","room":[]}'),
    ("room-name-is-a-number", b'{"event":"x","id":"y","room":{"name":7}}'),
    ("participant-is-text", b'{"event":"x","id":"y","participant":"SIP"}'),
    ("kind-is-a-number", b'{"event":"x","id":"y","participant":{"kind":3}}'),
    ("attributes-is-a-list", b'{"event":"x","id":"y","participant":{"attributes":[1]}}'),
    ("attribute-is-a-number", b'{"event":"x","id":"y","participant":{"attributes":{"a":1}}}'),
    ("time-is-a-word", b'{"event":"x","id":"y","createdAt":"now"}'),
    ("time-is-negative", b'{"event":"x","id":"y","createdAt":-1}'),
    ("time-is-true", b'{"event":"x","id":"y","createdAt":true}'),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in RUBBISH])
def test_signed_rubbish_is_400(body: bytes) -> None:
    assert refusal(token(body), body)[0] == 400


def test_unknown_events_and_fields_are_fine() -> None:
    body = b'{"event":"moon_risen","id":"EV_2","surprise":{"a":[1,null]},"room":{"new":1}}'

    assert verify(token(body), body, NOW, KEYS).name == "moon_risen"


def test_nulls_are_absent() -> None:
    body = b'{"event":"room_finished","id":"EV_3","room":null,"participant":null}'

    event = verify(token(body), body, NOW, KEYS)

    assert (event.room, event.participant) == ("", None)


@given(authorization=st.text(max_size=300), body=st.binary(max_size=300))
@example(authorization=token(), body=b"")
def test_any_bytes_are_an_event_or_one_kind_of_refusal(authorization: str, body: bytes) -> None:
    with pytest.raises(DeliveryRefused):
        verify(authorization, body, NOW, KEYS)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    document=st.dictionaries(
        st.sampled_from(["event", "id", "room", "participant", "createdAt", "x"]), json_values
    )
)
def test_signed_json_of_any_shape_is_an_event_or_400(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()

    try:
        verdict: object = verify(token(body), body, NOW, KEYS).event_id
    except DeliveryRefused as exc:
        verdict = exc.status

    assert verdict in (400, document.get("id"))


mutations: dict[str, Callable[[str, int], str]] = {
    "flip": lambda text, at: text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :],
    "cut": lambda text, at: text[:at],
    "drop": lambda text, at: text[:at] + text[at + 1 :],
    "double": lambda text, at: text[:at] + text[at] + text[at:],
    "pad": lambda text, at: text[:at] + "=" + text[at:],
    "case": lambda text, at: text[:at] + text[at].swapcase() + text[at + 1 :],
}


@given(name=st.sampled_from(sorted(mutations)), at=st.integers(min_value=0, max_value=10**6))
def test_no_token_but_the_one_that_was_issued_is_accepted(name: str, at: int) -> None:
    issued = sign(BODY, NOW, KEY, SECRET)

    forged = mutations[name](issued, at % len(issued))

    if forged != issued:
        assert refusal(forged)[0] == 401


@given(body=st.binary(max_size=200), other=st.binary(max_size=200))
def test_a_token_is_good_for_exactly_one_body(body: bytes, other: bytes) -> None:
    if body != other:
        assert refusal(sign(body, NOW, KEY, SECRET), other) == (401, "other_body")
