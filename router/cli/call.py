"""`call`: one call, through the gate and the router that runs, never around them."""

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from router.cli.exits import CheckFailed
from router.principals import DEFAULT_TENANT, tenant_of

if TYPE_CHECKING:
    from router.cli.router_api import RouterApi

LOOK_S: Final = 0.5
#: How a call may end that the command counts as done.
DONE: Final = frozenset({"answered", "transferred"})
To = Annotated[str, typer.Option(help="A router's address; default: from the settings.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


def _tenant(name: str) -> str:
    if tenant_of(name) is None:
        raise typer.BadParameter("letters, digits and _ . -, at most 40, beginning with neither")
    return name


Tenant = Annotated[str, typer.Option(help="Whose campaigns, lists and records.", callback=_tenant)]


def call(
    number: Annotated[
        str, typer.Argument(metavar="[NUMBER]", help="Whom to call, as +4930901820.")
    ] = "",
    persona: Annotated[
        str, typer.Option(help="Who speaks, by the name of its file; default: the campaign's.")
    ] = "",
    campaign: Annotated[str, typer.Option(help="For which campaign.")] = "default",
    lead: Annotated[
        int, typer.Option(min=0, help="Call this lead, from 1; also RUN_SINGLE_CALL, LEAD_INDEX.")
    ] = 0,
    lead_list: Annotated[
        str, typer.Option("--list", help="Of this list; default: the active one.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    to: To = "",
    dev: Dev = False,
) -> None:
    """Call one person, if the gate allows it; else exit 7 and say why and what to do."""
    from router.cli.router_api import RouterApi
    from router.settings import RouterSettings

    settings = RouterSettings.load(router_dev=dev or None)
    if not number and not lead and settings.run_single_call:
        lead = settings.lead_index
    if bool(number) == bool(lead):
        raise typer.BadParameter("give NUMBER, or --lead N")
    wanted: dict[str, Any] = {"campaign": campaign}
    wanted |= {"number": number} if number else {"lead": lead}
    wanted |= {"list": lead_list} if lead_list and lead else {}
    wanted |= {"persona": persona} if persona else {}
    api = RouterApi(settings, to, tenant)
    try:
        made = api.post("/attempts", wanted)
        if wait:
            made = follow(api, made["attempt_id"])
    finally:
        api.close()
    print(json.dumps(made) if as_json else as_line(made))
    if wait and made["state"] not in DONE:
        raise CheckFailed(f"the call ended as {made['state']}: {made['because']}")


def follow(api: "RouterApi", attempt_id: str) -> dict[str, Any]:
    """Say on stderr what becomes of a call, until it is over; an interrupt hangs up."""
    shown = ""
    while True:
        try:
            found: dict[str, Any] = api.get(f"/attempts/{attempt_id}")
            if found["state"] != shown:
                shown = found["state"]
                print(shown, file=sys.stderr)
            if found["ended_at"] is not None:
                return found
            time.sleep(LOOK_S)
        except KeyboardInterrupt:
            print("hanging up", file=sys.stderr)
            api.post(f"/attempts/{attempt_id}/end")


def as_line(made: dict[str, Any]) -> str:
    """Say in one line how it stands."""
    ended = f" {made['disposition']}" if made["disposition"] not in (None, made["state"]) else ""
    return f"{made['attempt_id']} {made['state']}{ended} {made['because']}"


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(call)
