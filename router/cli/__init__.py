"""`persona-router`: one module a command. Data goes to stdout, progress and problems to stderr.

A command imports what it needs when it runs, so that `--help` answers at once.
"""

import sys
from collections.abc import Sequence

import typer

from personas.errors import PersonaNotFound, PersonaRouterError, SettingsInvalid
from router.cli import (
    call,
    calls,
    campaign,
    config,
    consent,
    demo,
    dial,
    dnc,
    doctor,
    explain,
    hooks,
    leads,
    numbers,
    personas,
    privacy,
    replay,
    serve,
    talk,
    trigger,
    users,
)
from router.cli.exits import FAILED, CheckFailed, Exit, NotThere, PolicyRefused, RemoteAway
from router.errors import (
    CampaignRefused,
    ErasureRefused,
    HookRefused,
    LeadsRefused,
    LiveKitUnavailable,
    RunRefused,
    StoreUnavailable,
)

app = typer.Typer(
    name="persona-router",
    help="Every phone number answered by the right persona.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=(
        "Exit: 0 ok, 1 unexpected, 2 usage, 3 configuration, 4 not found, 5 remote away, "
        "6 a check failed, 7 refused by policy."
    ),
)
for module in (serve, demo, talk, explain, replay, trigger, doctor, call, dial):
    module.register(app)
app.add_typer(personas.app, name="personas")
app.add_typer(personas.contract_app, name="contract")
app.add_typer(config.app, name="config")
app.add_typer(calls.app, name="calls")
app.add_typer(campaign.app, name="campaign")
app.add_typer(leads.app, name="leads")
app.add_typer(consent.app, name="consent")
app.add_typer(dnc.app, name="dnc")
app.add_typer(hooks.app, name="hooks")
app.add_typer(numbers.app, name="numbers")
app.add_typer(privacy.app, name="privacy")
app.add_typer(users.users_app, name="users")
app.add_typer(users.tokens_app, name="tokens")


#: How a command that raised ends; the first that fits.
ENDINGS: tuple[tuple[type[PersonaRouterError], Exit], ...] = (
    (SettingsInvalid, Exit.CONFIGURATION),
    (CheckFailed, Exit.CHECK_FAILED),
    (LeadsRefused, Exit.CHECK_FAILED),
    (CampaignRefused, Exit.CHECK_FAILED),
    (RunRefused, Exit.CHECK_FAILED),
    (HookRefused, Exit.CHECK_FAILED),
    (ErasureRefused, Exit.CHECK_FAILED),
    (PersonaNotFound, Exit.NOT_FOUND),
    (NotThere, Exit.NOT_FOUND),
    (PolicyRefused, Exit.REFUSED),
    (LiveKitUnavailable, Exit.REMOTE_AWAY),
    (StoreUnavailable, Exit.REMOTE_AWAY),
    (RemoteAway, Exit.REMOTE_AWAY),
    (PersonaRouterError, Exit.UNEXPECTED),
)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status. Errors become one clear line each on stderr."""
    try:
        app(list(arguments), prog_name="persona-router")
    except PersonaRouterError as exc:
        for line in _lines(exc):
            _say(line)
        return next(status for kind, status in ENDINGS if isinstance(exc, kind))
    except SystemExit as exc:  # typer's own: --help, usage, typer.Exit
        return exc.code if isinstance(exc.code, int) else Exit.UNEXPECTED
    return Exit.OK


def _lines(exc: PersonaRouterError) -> Sequence[str]:
    if isinstance(exc, SettingsInvalid):
        where = "Set these in the environment or in .env; deploy/.env.example explains each."
        return (*exc.problems, where)
    if isinstance(exc, LiveKitUnavailable):
        return (f"LiveKit did not answer ({exc.reason}); `persona-router doctor` looks why",)
    if isinstance(exc, StoreUnavailable):
        return (f"the database did not answer ({exc.reason}); see DATABASE_URL and STATE_DIR",)
    return (str(exc),)


def _say(line: str) -> None:
    print(f"{FAILED} {line}", file=sys.stderr)
