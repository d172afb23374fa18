"""Deliveries per second of one process, beside a minimal app on LiveKit's own receiver."""

from pathlib import Path

from tests.bench import load, processes
from tests.bench.report import Figure, Say, median, spread
from tests.bench.sender import send

ROUNDS = 7
CALLS = 800  # in a round
NUMBERS = 100
AT_ONCE = 32
WANTED = 2.0


async def _round(target: processes.Running) -> tuple[float, float]:
    """Return deliveries per second, and microseconds of processor time for each."""
    calls = [load.call(load.number(index % NUMBERS)) for index in range(CALLS)]
    cpu_s = target.cpu_s()
    sent = await send(target.port, calls, at_once=AT_ONCE)
    sent.check()
    return sent.count / sent.seconds, (target.cpu_s() - cpu_s) / sent.count * 1e6


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Send the same load to both, in turns."""
    async with (
        processes.edge(folder) as edge,
        processes.router(folder, livekit_port=edge, edge_port=edge) as router,
        processes.plain_app(folder) as plain,
    ):
        await _round(router)  # connections, caches: as in a process that has been up for a while
        await _round(plain)
        ours, theirs = [], []
        for number in range(ROUNDS):
            theirs.append(await _round(plain))
            ours.append(await _round(router))
            say(
                f"round {number + 1}: router {ours[-1][0]:.0f}/s ({ours[-1][1]:.0f} µs CPU), "
                f"plain {theirs[-1][0]:.0f}/s ({theirs[-1][1]:.0f} µs CPU)"
            )
    ratios = [our[0] / their[0] for our, their in zip(ours, theirs, strict=True)]
    ratio = median(ratios)
    rates = median([one[0] for one in ours]), median([one[0] for one in theirs])
    costs = median([one[1] for one in ours]), median([one[1] for one in theirs])
    return [
        Figure(
            "deliveries per second of one process, against a minimal Starlette app with "
            "`WebhookReceiver`",
            f"{rates[0]:.0f}/s against {rates[1]:.0f}/s: {ratio:.2f}x ({spread(ratios)}); "
            f"{costs[0]:.0f} µs of CPU against {costs[1]:.0f} µs",
            f"at least {WANTED:g}x",
            met=ratio >= WANTED,
        )
    ]
