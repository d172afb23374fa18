"""Recorded deliveries and payloads, and how tests read them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
KEY = "devkey"
SECRET = b"devsecret_devsecret_devsecret_devsecret"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recorded webhook delivery."""

    received_at: float
    authorization: str
    body: bytes


@cache
def deliveries(name: str = "livekit_deliveries") -> tuple[Delivery, ...]:
    """Every delivery of a recording, in the order of arrival."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(
        Delivery(row["received_at"], row["authorization"], row["body"].encode())
        for row in map(json.loads, lines)
    )
