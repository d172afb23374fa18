"""`config show`: every setting, where it came from, secrets hidden."""

import json
from typing import Annotated

import typer

app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)


@app.callback()
def _config() -> None:
    """Look at the configuration."""


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Print every setting of the router, redacted, and where its value came from."""
    from router.settings import RouterSettings

    settings = RouterSettings.load(router_dev=dev or None)
    values, origins = settings.shown(), settings.origins()
    if as_json:
        print(json.dumps({name: {"value": values[name], "from": origins[name]} for name in values}))
        return
    wide, wider = max(map(len, values)), max(map(len, values.values()))
    for name, value in values.items():
        print(f"{name:<{wide}}  {value:<{wider}}  {origins[name]}")
