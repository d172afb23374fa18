"""The Standard Webhooks scheme, by an example that its libraries share."""

from router.signatures import headers, new_secret, signature
from tests.hook_receiver import Told

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_example_of_the_specifications_libraries_is_signed_the_same() -> None:
    signed = signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_signs_and_a_receiver_needs_but_one() -> None:
    old, new = new_secret(b"a" * 32), new_secret(b"b" * 32)
    named = headers([new, old], "msg_1", 1_700_000_000, b"{}")

    told = Told("msg_1", 1_700_000_000, tuple(named["webhook-signature"].split(" ")), b"{}")

    assert told.is_signed_with(old)
    assert told.is_signed_with(new)
    assert not told.is_signed_with(new_secret(b"c" * 32))
    assert (named["webhook-id"], named["webhook-timestamp"]) == ("msg_1", "1700000000")
