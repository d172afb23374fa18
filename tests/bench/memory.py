"""What the router holds after many deliveries over many numbers, against after few.

Each call is to the next number, so that every number is called, and is four deliveries.
"""

from itertools import islice
from pathlib import Path

from tests.bench import load, processes
from tests.bench.report import Figure, Say
from tests.bench.sender import send

NUMBERS = 50_000
EARLY, LATE = 10_000, 200_000  # deliveries
BATCH = 2_500  # calls
AT_ONCE = 32
WANTED = 1.1
_MIB = 1024 * 1024


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Send deliveries, and look at the process after the first and after the last."""
    resident: dict[int, int] = {}
    numbers = map(load.number, range(NUMBERS))
    async with (
        processes.edge(folder) as edge,
        processes.router(folder, livekit_port=edge, edge_port=edge) as router,
    ):
        count = 0
        while count < LATE:
            calls = [load.call(number, few=True) for number in islice(numbers, BATCH)]
            sent = await send(router.port, calls, at_once=AT_ONCE)
            sent.check()
            count += sent.count
            resident[count] = router.resident_bytes()
            say(f"{count} deliveries: {resident[count] / _MIB:.0f} MiB")
    early, late = resident[EARLY], resident[LATE]
    return [
        Figure(
            f"memory of the router after {LATE:,} deliveries over {NUMBERS:,} numbers, against "
            f"after {EARLY:,}",
            f"{late / _MIB:.0f} MiB against {early / _MIB:.0f} MiB: {late / early:.2f}x",
            f"flat: at most {WANTED:g}x",
            met=late / early <= WANTED,
        )
    ]
