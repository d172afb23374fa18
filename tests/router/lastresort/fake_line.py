"""Stands in for the process in the room: ``python fake_line.py MODE``, without a room."""

import json
import sys
from typing import Any


def tell(event: str, **more: str) -> None:
    print(json.dumps({"event": event, **more}), flush=True)  # noqa: T201  # its way of speaking


def main(mode: str) -> int:
    first: dict[str, Any] = json.loads(sys.stdin.readline())
    assert set(first) == {"url", "token", "caller"}
    if mode == "crashes":
        return 3
    if mode == "refused":
        tell("failed", reason="ConnectError")
        return 0
    if mode == "mute":
        sys.stdin.read()
        return 0
    print("a library prints\n[1]\n{}", flush=True)  # noqa: T201
    tell("answered")
    for line in sys.stdin:
        order = json.loads(line)
        if mode in {"agent_came", "caller_gone"}:
            tell(mode)
            break
        tell("played", **({"unusable": "EOFError"} if mode == "unusable" and order["play"] else {}))
        if mode == "leaves":
            tell("caller_gone")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
