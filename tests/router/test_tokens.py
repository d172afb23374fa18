from typing import Any

import jwt
import pytest

from personas.tokens import CALL_TOKEN_S, call_key, call_token, sign
from router.errors import TokenRefused
from router.tokens import call_of, read

NOW = 1_800_000_000.0
SECRET = "s" * 32
OLD = "o" * 32
CALL = "0123456789abcdef"


def test_the_token_of_a_call_names_it() -> None:
    assert call_of(call_token(CALL, SECRET, NOW), [SECRET], NOW) == CALL


def test_a_call_token_is_good_as_long_as_a_long_call_and_no_longer() -> None:
    token = call_token(CALL, SECRET, NOW)

    assert call_of(token, [SECRET], NOW + 4 * 3600) == CALL
    with pytest.raises(TokenRefused, match="expired"):
        call_of(token, [SECRET], NOW + CALL_TOKEN_S + 3600)


def test_while_keys_are_rotated_either_makes_a_good_token() -> None:
    for made_with in (SECRET, OLD):
        assert call_of(call_token(CALL, made_with, NOW), [SECRET, OLD], NOW) == CALL


@pytest.mark.parametrize(
    ("claims", "key"),
    [
        pytest.param({"call_id": CALL, "scope": "call"}, SECRET.encode(), id="livekit's-own-key"),
        pytest.param({"call_id": CALL, "scope": "call"}, call_key(OLD), id="another-secret's"),
        pytest.param({"call_id": CALL, "scope": "admin"}, call_key(SECRET), id="another-scope"),
        pytest.param({"call_id": CALL}, call_key(SECRET), id="no-scope"),
        pytest.param({"scope": "call"}, call_key(SECRET), id="no-call"),
        pytest.param({"scope": "call", "call_id": 7}, call_key(SECRET), id="no-text"),
        pytest.param({"scope": "call", "call_id": ""}, call_key(SECRET), id="empty"),
    ],
)
def test_nothing_else_is_a_call_token(claims: dict[str, Any], key: bytes) -> None:
    times = {"iss": "persona-router-call", "nbf": int(NOW), "exp": int(NOW) + 60}

    with pytest.raises(TokenRefused):
        call_of(sign({**times, **claims}, key), [SECRET], NOW)


def test_livekit_takes_no_call_token_for_one_of_its_own() -> None:
    token = call_token(CALL, SECRET, NOW)

    with pytest.raises(TokenRefused):
        read(token, {"key": SECRET.encode()}, NOW, leeway_s=60)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET, algorithms=["HS256"])


def test_others_can_read_it() -> None:
    key = call_key(SECRET)
    options: Any = {"verify_exp": False, "verify_nbf": False}

    claims = jwt.decode(call_token(CALL, SECRET, NOW), key, algorithms=["HS256"], options=options)

    assert claims["call_id"] == CALL
