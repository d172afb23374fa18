"""`explain NUMBER`: who would answer, and why. The live code path, without a dispatch."""

import asyncio
import json
from typing import Annotated, Any

import typer


def explain(
    number: Annotated[str, typer.Argument(help="The dialed number, as the trunk would give it.")],
    caller: Annotated[str, typer.Option("--from", help="The caller's number.")] = "",
    trunk: Annotated[str, typer.Option(help="The trunk's id, ST_….")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Say which persona answers NUMBER now, from which source, and why."""
    from router.settings import RouterSettings

    settings = RouterSettings.load(router_dev=dev or None)
    chain = asyncio.run(_explain(settings, number, caller, trunk))
    if as_json:
        print(json.dumps(chain, ensure_ascii=False))
        return
    _print(chain)


async def _explain(settings: Any, number: str, caller: str, trunk: str) -> dict[str, Any]:
    import structlog

    from router.app import lookup_from, plan_from
    from router.demo.deliveries import joined
    from router.inbound import explained
    from router.metrics import Metrics
    from router.routing import Answer, decide

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    decision = decide(joined(number=number, caller=caller, trunk_id=trunk), plan_from(settings))
    if not isinstance(decision, Answer):
        return {"decision": type(decision).__name__.lower(), "because": decision.because}
    lookup = lookup_from(settings, Metrics())
    try:
        found = await lookup.find(decision.call.dialed)
    finally:
        await lookup.aclose()
    dialed = decision.call.dialed
    return {
        "decision": "answer",
        "dialed_as": dialed.dialed_as,
        "dialed_number": dialed.number.e164 if dialed.number else None,
        "region": dialed.region,
        "persona": found.persona.persona_name,
        "source": found.origin.source,
        "age_s": found.origin.age_s,
        "version": found.persona.version,
        "because": explained(found.origin, decision.because).because,
        "steps": [
            {"source": step.source, "outcome": step.outcome, "ms": step.ms} for step in found.steps
        ],
        "agent": settings.agent_to_dispatch,
    }


def _print(chain: dict[str, Any]) -> None:
    if chain["decision"] != "answer":
        print(f"No agent is sent: {chain['because']}")
        return
    number = chain["dialed_number"] or "unknown"
    print(f"dialed    {chain['dialed_as'] or '(hidden)'} → {number}")
    for step in chain["steps"]:
        print(f"asked     {step['source']}: {step['outcome']} ({step['ms']:.1f} ms)")
    print(f"persona   {chain['persona'] or '(no name)'}, version {chain['version'][:19]}…")
    print(f"origin    {chain['source']}, {chain['age_s']:.0f} s old")
    print(f"because   {chain['because']}")
    print(f"agent     {chain['agent']} would be dispatched with this persona as its metadata")


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(explain)
