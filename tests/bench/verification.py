"""Verification alone, beside `livekit.api.WebhookReceiver.receive`, over recorded deliveries."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from livekit.api import TokenVerifier, WebhookReceiver

from router.events import sign, verify
from tests.bench.load import KEY, SECRET
from tests.bench.report import Figure, Say, median, spread
from tests.samples import deliveries

ROUNDS = 9
REPEATS = 40  # of the 44 recorded deliveries, in a round
WANTED = 4.0


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Verify the same deliveries with both, in turns."""
    del folder
    now, secret = time.time(), SECRET.encode()
    signed = [(sign(one.body, now, KEY, secret), one.body) for one in deliveries()]
    texts = [(token, body.decode()) for token, body in signed]
    receiver = WebhookReceiver(TokenVerifier(KEY, SECRET))

    def ours() -> None:
        for token, body in signed:
            verify(token, body, now, {KEY: secret})

    def theirs() -> None:
        for token, body in texts:
            receiver.receive(body, token)

    pairs = [(_timed(ours, len(signed)), _timed(theirs, len(signed))) for _ in range(ROUNDS)]
    say(f"verify {_median(pairs, 0):.1f} µs, WebhookReceiver.receive {_median(pairs, 1):.1f} µs")
    ratios = [their / our for our, their in pairs]
    return [
        Figure(
            "verification of a delivery, against `WebhookReceiver.receive`",
            f"{_median(pairs, 0):.1f} µs against {_median(pairs, 1):.1f} µs: "
            f"{median(ratios):.1f}x ({spread(ratios)})",
            f"at least {WANTED:g}x",
            met=median(ratios) >= WANTED,
        )
    ]


def _timed(work: Callable[[], None], size: int) -> float:
    started = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return (time.perf_counter() - started) / (REPEATS * size) * 1e6


def _median(pairs: Sequence[tuple[float, float]], side: int) -> float:
    return median([pair[side] for pair in pairs])
