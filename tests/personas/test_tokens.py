"""Signatures under several keys at once: each made with its own, whatever was signed before."""

import hashlib
import hmac
from base64 import urlsafe_b64encode

import jwt
import pytest

from personas.tokens import sign, signature

KEYS = [f"{index:032}".encode() for index in range(20)]  # more than are remembered


def expected(signed: bytes, secret: bytes) -> bytes:
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=")


@pytest.mark.parametrize("signed", [b"", b"a.b", b"x" * 10_000])
def test_a_signature_is_hmac_sha256_in_base64url(signed: bytes) -> None:
    assert signature(signed, KEYS[0]) == expected(signed, KEYS[0])


def test_a_key_that_is_used_again_starts_anew_each_time() -> None:
    assert [signature(b"a", KEYS[0]), signature(b"b", KEYS[0]), signature(b"a", KEYS[0])] == [
        expected(b"a", KEYS[0]),
        expected(b"b", KEYS[0]),
        expected(b"a", KEYS[0]),
    ]


def test_many_keys_in_turns_do_not_get_mixed_up() -> None:
    for _ in range(2):
        for key in KEYS:
            assert signature(b"text", key) == expected(b"text", key)


@pytest.mark.parametrize("length", [1, 64, 65, 200])  # SHA-256's block is 64 bytes
def test_a_key_may_be_of_any_length(length: int) -> None:
    key = b"k" * length

    assert signature(b"text", key) == expected(b"text", key)


def test_others_can_read_what_was_signed() -> None:
    token = sign({"iss": "key", "video": {"room": "Räume"}}, KEYS[0])

    claims = jwt.decode(token, KEYS[0], algorithms=["HS256"])
    assert claims == {"iss": "key", "video": {"room": "Räume"}}
