"""`doctor`: check all that a call needs."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.exits import FAILED, OK_MARK, WARNED, CheckFailed

if TYPE_CHECKING:
    from router.findings import Check
    from router.settings import RouterSettings

MARKS = {"ok": OK_MARK, "warning": WARNED, "error": FAILED}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Check settings, LiveKit, clocks, persona API, rules, trunks, numbers, keys and workers."""
    from router.settings import RouterSettings

    checks = asyncio.run(_examine(RouterSettings.load(router_dev=dev or None)))
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


async def _examine(settings: "RouterSettings") -> "list[Check]":
    import structlog

    from router.doctor import Doctor, refusals_at
    from router.metrics import Metrics
    from router.services import livekit_from, lookup_from, plan_from

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    personas = lookup_from(settings, Metrics())
    try:
        async with livekit_from(settings) as livekit:
            return await Doctor(
                settings=settings,
                livekit=livekit,
                personas=personas,
                plan=plan_from(settings),
                refusals=lambda: refusals_at(settings.host, settings.port),
            ).examine()
    finally:
        await personas.aclose()


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(doctor)
