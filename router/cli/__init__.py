"""`persona-router`: one module a command. Data goes to stdout, progress and problems to stderr.

A command imports what it needs when it runs, so that `--help` answers at once.
"""

import sys
from collections.abc import Sequence

import click
import typer

from personas.errors import PersonaNotFound, PersonaRouterError, SettingsInvalid
from router.cli import config, demo, doctor, explain, personas, serve, trigger
from router.cli.exits import FAILED, CheckFailed, Exit
from router.errors import LiveKitUnavailable

app = typer.Typer(
    name="persona-router",
    help="Every phone number answered by the right persona.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=(
        "Exit: 0 ok, 1 unexpected, 2 usage, 3 configuration, 4 not found, 5 remote away, "
        "6 a check failed."
    ),
)
for module in (serve, demo, explain, trigger, doctor):
    module.register(app)
app.add_typer(personas.app, name="personas")
app.add_typer(personas.contract_app, name="contract")
app.add_typer(config.app, name="config")


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status. Errors become one clear line each on stderr."""
    try:
        answer = app(list(arguments), standalone_mode=False)
    except SettingsInvalid as exc:
        for problem in exc.problems:
            _say(problem)
        _say("Set these in the environment or in .env; `.env.example` explains each.")
        return Exit.CONFIGURATION
    except CheckFailed as exc:
        _say(str(exc))
        return Exit.CHECK_FAILED
    except PersonaNotFound as exc:
        _say(str(exc))
        return Exit.NOT_FOUND
    except LiveKitUnavailable as exc:
        _say(
            f"LiveKit did not answer: {exc.reason}. See LIVEKIT_URL, or run `persona-router doctor`"
        )
        return Exit.REMOTE_AWAY
    except PersonaRouterError as exc:
        _say(str(exc))
        return Exit.UNEXPECTED
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.Abort:
        return Exit.UNEXPECTED
    except click.ClickException as exc:
        exc.show(sys.stderr)
        return exc.exit_code
    return answer if isinstance(answer, int) else Exit.OK


def _say(line: str) -> None:
    print(f"{FAILED} {line}", file=sys.stderr)
