from pathlib import Path
from typing import Any

from router.fingerprint import fingerprint
from router.settings import RouterSettings
from tests.samples import KEY, SECRET


def settings(tmp_path: Path, **changed: Any) -> RouterSettings:
    known = {
        "livekit_url": "ws://127.0.0.1:7880",
        "livekit_api_key": KEY,
        "livekit_api_secret": SECRET.decode(),
        "state_dir": tmp_path,
    }
    return RouterSettings.load(**(known | changed))


def test_replicas_that_differ_in_their_machine_alone_have_the_same(tmp_path: Path) -> None:
    one = settings(tmp_path, port=8080, host="127.0.0.1")
    other = settings(tmp_path / "other", port=9090, host="0.0.0.0", log_level="DEBUG")  # noqa: S104

    assert fingerprint(one) == fingerprint(other)


def test_replicas_that_would_answer_differently_differ(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"default_region": "US"},
        {"persona_api_base": "off"},
        {"agent_to_dispatch": "another"},
        {"trunk_numbers": "ST_one=+4930901820"},
    ]

    assert len({fingerprint(settings(tmp_path, **one)) for one in variants}) == len(variants)


def test_who_does_not_know_livekits_secret_cannot_try_numbers(tmp_path: Path) -> None:
    other = settings(tmp_path, livekit_api_secret="another-secret-of-more-than-32-bytes")

    assert fingerprint(other) != fingerprint(settings(tmp_path))
