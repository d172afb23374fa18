"""Which addresses requests may go to."""

import pytest

from router.addresses import Neighbours, is_address, is_public, resolved
from router.errors import HookRefused
from router.hook_urls import check_url


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_what_stands_beside_us_is_not(address: str) -> None:
    assert not is_public(address)


def test_a_neighbour_is_reached_as_far_as_it_is_listed() -> None:
    listed = Neighbours.of("crm.lan, 10.0.0.5:8443,[fd00::7]")

    assert listed.reach("crm.lan", 80, "10.0.0.9")
    assert listed.reach("10.0.0.5", 8443, "10.0.0.5")
    assert not listed.reach("10.0.0.5", 22, "10.0.0.5")
    assert listed.reach("fd00::7", 443, "fd00::7")
    assert not listed.reach("evil.example", 80, "10.0.0.9")
    assert listed.reach("example.org", 443, "93.184.216.34")


async def test_names_are_resolved_and_addresses_told_from_names() -> None:
    assert "127.0.0.1" in await resolved("127.0.0.1", 80)
    assert is_address("::1")
    assert not is_address("example.org")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org/", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("example.org", "bad_url"),
        ("http://", "bad_url"),
        ("http://[::1", "bad_url"),
        ("http://a b.example.org/", "bad_url"),
        ("https://ann:pw@example.org/", "bad_url"),
        ("https://example.org/#x", "bad_url"),
        ("https://example.org:99999/", "bad_url"),
        ("http://127.0.0.1:9/", "address_refused"),
        ("http://[::1]/", "address_refused"),
        ("http://169.254.169.254/latest", "address_refused"),
    ],
)
def test_a_url_that_could_never_be_sent_to_is_refused(url: str, reason: str) -> None:
    with pytest.raises(HookRefused) as refused:
        check_url(url, Neighbours.of(""))

    assert refused.value.reason == reason
    assert refused.value.fix in str(refused.value)


def test_a_listed_address_and_any_name_may_be_tried() -> None:
    check_url("http://127.0.0.1:9/", Neighbours.of("127.0.0.1:9"))
    check_url("https://crm.example.org/hooks?tenant=7", Neighbours.of(""))
