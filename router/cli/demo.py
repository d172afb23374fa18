"""`demo`: three real calls on this machine, without keys, phones or a carrier."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def demo(
    into: Annotated[Path, typer.Option("--into", help="Folder for the recordings.")] = Path(
        "demo-calls"
    ),
) -> None:
    """Start everything on this machine and place three calls."""
    from router.demo.run import run

    raise typer.Exit(asyncio.run(run(into)))


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(demo)
