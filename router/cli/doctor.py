"""`doctor`: check all that a call needs."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from router.cli.exits import FAILED, OK_MARK, WARNED, CheckFailed

MARKS = {"ok": OK_MARK, "warning": WARNED, "error": FAILED}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Check settings, LiveKit, clocks, persona API, worker and dispatch rules."""
    from router.doctor import examine
    from router.settings import RouterSettings

    checks = asyncio.run(examine(RouterSettings.load(router_dev=dev or None)))
    if as_json:
        print(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            print(f"{MARKS[check.level]} {check.name}: {check.said}")
            if check.fix:
                print(f"      → {check.fix}")
    wrong = sum(check.level == "error" for check in checks)
    if wrong:
        raise CheckFailed(f"{wrong} of {len(checks)} checks failed")


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(doctor)
