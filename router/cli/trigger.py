"""`trigger`: send the router a delivery as LiveKit would, correctly signed or wrongly."""

import json
import secrets
import time
from typing import Annotated

import typer

from router.cli.exits import RemoteAway

TIMEOUT_S = 10.0


def trigger(
    event: Annotated[str, typer.Argument(help="The event, such as participant_joined.")],
    number: Annotated[str, typer.Option(help="The dialed number; empty hides it.")] = "",
    caller: Annotated[str, typer.Option("--from", help="The caller's number.")] = "+13125550100",
    trunk: Annotated[str, typer.Option(help="The trunk's id, ST_….")] = "",
    room: Annotated[str, typer.Option(help="The room's name; default: a new one.")] = "",
    to: Annotated[str, typer.Option(help="The router's address; default: from settings.")] = "",
    duplicate: Annotated[bool, typer.Option(help="Send the same delivery twice.")] = False,
    bad_signature: Annotated[bool, typer.Option(help="Sign with a wrong secret.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Send one signed delivery. LiveKit creates the room that the router dispatches to."""
    import httpx

    from router.demo.deliveries import body, caller_attributes
    from router.events import sign
    from router.settings import RouterSettings

    settings = RouterSettings.load(router_dev=dev or None)
    secret = settings.livekit_api_secret.get_secret_value().encode()
    content = body(
        event,
        room=room or f"call-{secrets.token_hex(4)}",
        room_sid=f"RM_{secrets.token_hex(6)}",
        attributes=caller_attributes(number=number, caller=caller, trunk_id=trunk),
    )
    token = sign(
        content, time.time(), settings.livekit_api_key, b"wrong" * 8 if bad_signature else secret
    )
    url = (to or f"http://{settings.host}:{settings.port}").rstrip("/") + "/livekit-webhook"
    answers = []
    for _ in range(2 if duplicate else 1):
        started = time.perf_counter()
        try:
            answer = httpx.post(
                url,
                content=content,
                headers={"Authorization": token, "Content-Type": "application/webhook+json"},
                timeout=TIMEOUT_S,
            )
        except httpx.HTTPError as exc:
            raise RemoteAway(
                f"no router answered at {url} ({type(exc).__name__}); is `persona-router serve` "
                "running there? name another with --to"
            ) from exc
        took_ms = round((time.perf_counter() - started) * 1000, 1)
        answers.append({"status": answer.status_code, "ms": took_ms, "body": answer.text})
    if as_json:
        print(json.dumps(answers))
    else:
        for answered in answers:
            print(f"{answered['status']} in {answered['ms']} ms {answered['body']}".rstrip())


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(trigger)
