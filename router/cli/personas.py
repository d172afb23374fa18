"""`personas` and `contract`: look at personas, check them, print the schemas."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from personas.errors import PersonaInvalid, PersonaNotFound
from router.cli.exits import FAILED, OK_MARK, WARNED, CheckFailed, RemoteAway

app = typer.Typer(help="Look at personas and check them.", no_args_is_help=True)
contract_app = typer.Typer(help="What router and agent say to each other.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of personas (PERSONA_DIR).", envvar="PERSONA_DIR"),
]


def _files(folder: Path | None) -> list[Path]:
    import personas

    shipped = Path(personas.__file__).parent / "library"
    folders = [folder, shipped] if folder else [shipped]
    return [
        path
        for place in folders
        for path in sorted(place.iterdir())
        if path.suffix in {".yaml", ".yml", ".json"} and not path.name.endswith(".schema.json")
    ]


@app.command("list")
def list_(folder: Folder = None, as_json: Json = False) -> None:
    """List the personas of the folder and those that ship with persona-router."""
    from personas.sources.files import read_persona

    rows: list[dict[str, Any]] = []
    for path in _files(folder):
        row: dict[str, Any] = {"id": path.stem, "file": str(path)}
        try:
            persona = read_persona(path)
        except PersonaInvalid as exc:
            row |= {"error": str(exc)}
        else:
            row |= {
                "name": persona.persona_name,
                "language": persona.language,
                "voice": persona.voice.id if persona.voice else None,
                "version": persona.version,
            }
        rows.append(row)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        shown = row.get("error") or (
            f"{row['name'] or '-':<12} {row['language'] or '-':<6} {row['voice'] or '-':<24} "
            f"{row['version'][:19]}"
        )
        print(f"{row['id']:<22} {shown}")


@app.command()
def show(
    persona: Annotated[str, typer.Argument(help="A file, an id from `list`, or a number.")],
    folder: Folder = None,
) -> None:
    """Print one persona's document, as JSON."""
    from personas.sources.files import read_persona

    wanted = persona.removeprefix("+")
    found = [path for path in _files(folder) if path.stem.removeprefix("+") == wanted]
    path = Path(persona) if Path(persona).is_file() else found[0] if found else None
    if path is None:
        raise PersonaNotFound(f"there is no persona {persona!r}; `personas list` shows them")
    print(json.dumps(read_persona(path).document, ensure_ascii=False, indent=2))


@app.command()
def lint(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files; default: PERSONA_DIR and the shipped ones.")
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Check personas; exits with 6 when one of them has an error."""
    from personas.lint import lint as findings_of
    from personas.sources.files import read_document

    rows: list[dict[str, str]] = []
    paths = files or _files(folder)
    for path in paths:
        try:
            findings = findings_of(read_document(path))
        except PersonaInvalid as exc:
            rows.append({"file": str(path), "level": "error", "message": str(exc)})
            continue
        rows += [
            {
                "file": str(path),
                "level": finding.level,
                "field": finding.field,
                "message": finding.message,
                "fix": finding.fix,
            }
            for finding in findings
        ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            mark = FAILED if row["level"] == "error" else WARNED
            where = f"{Path(row['file']).name}: {row.get('field', '')}".rstrip(": ")
            fix = f"; {row['fix']}" if row.get("fix") else ""
            print(f"{mark} {where}: {row['message']}{fix}")
        for path in paths:
            if str(path) not in {row["file"] for row in rows}:
                print(f"{OK_MARK} {path.name}")
    wrong = {row["file"] for row in rows if row["level"] == "error"}
    if wrong:
        raise CheckFailed(f"{len(wrong)} of {len(paths)} personas cannot be used as they are")


@app.command()
def purge(
    number: Annotated[str, typer.Argument(help="The number whose copies are forgotten.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Forget the copies of all numbers.")] = False,
    to: Annotated[
        str, typer.Option(help="A router's address; default: REDIS_URL, else from settings.")
    ] = "",
    live: Annotated[
        bool, typer.Option("--live", help="Change calls that go on too; asks one router.")
    ] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Accept short secrets.")] = False,
) -> None:
    """Have every router forget its copies: the next call asks the persona API again."""
    import time

    from router.access import operator_token
    from router.settings import RouterSettings

    if bool(number) == every:
        raise typer.BadParameter("name a number, or say --all")
    settings = RouterSettings.load(router_dev=dev or None)
    if not to and not live and settings.redis_url.get_secret_value():
        _purge_by_redis(settings, number)
        print("purged: every router has heard of it, or will when it reaches Redis again")
        return
    to = to or f"http://{settings.host}:{settings.port}"
    token = operator_token(settings.livekit_api_secret.get_secret_value(), time.time())
    whose: dict[str, Any] = {"all": True} if every else {"number": number}
    print(_purge_by_http(to, whose | ({"live": True} if live else {}), token))


def _purge_by_redis(settings: Any, number: str) -> None:
    import asyncio

    from personas.phone import parse
    from router.services import shared_from

    parsed = parse(number, settings.default_region) if number else None
    if number and parsed is None:
        raise typer.BadParameter("this is no number; write it as E.164, or set DEFAULT_REGION")

    async def tell() -> bool:
        shared = shared_from(settings)
        try:
            return shared is None or await shared.purge(parsed)
        finally:
            if shared is not None:
                await shared.aclose()

    if not asyncio.run(tell()):
        raise RemoteAway("Redis did not answer; see REDIS_URL, or name a router with --to")


def _purge_by_http(to: str, wanted: dict[str, Any], token: str) -> str:
    import httpx

    url = to.rstrip("/") + "/api/personas/purge"
    try:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(url, json=wanted, headers=headers, timeout=10.0)
        said = answer.json()
    except (httpx.HTTPError, ValueError) as exc:
        raise RemoteAway(
            f"no router answered at {url} ({type(exc).__name__}); is `persona-router serve` "
            "running there? name another with --to"
        ) from exc
    if answer.is_error:
        raise CheckFailed(f"the router refused: {said.get('code')}; {said.get('fix', '')}")
    if said["others"] == "later":
        purged = "purged there; the other routers will hear of it when Redis is back"
    else:
        purged = "purged" if said["others"] == "none" else "purged, on every router"
    if (live := said.get("live")) is None:
        return purged
    return (
        f"{purged}; calls that go on: {live['changed']} changed, {live['same']} had it already, "
        f"{live['not_reached']} not reached"
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of a persona document."""
    from personas.model import json_schema

    print(json.dumps(json_schema(), indent=2))


@contract_app.callback()
def _contract() -> None:
    """Look at what router and agent say to each other."""


@contract_app.command("schema")
def contract_schema(
    layout: Annotated[
        str,
        typer.Option(
            help="agent-config, campaign-call, campaign-context or greeting: what the agent takes "
            "from other backends. Default: what the router sends."
        ),
    ] = "",
    reports: Annotated[
        bool, typer.Option("--reports", help="Of what the agent reports instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of job metadata, or of another layout that the agent reads."""
    from personas import contract, layouts
    from personas import reports as of_reports

    if reports and layout:
        raise typer.BadParameter("give --layout or --reports, not both")
    if reports:
        print(json.dumps(of_reports.json_schema(), indent=2))
        return

    if not layout:
        print(json.dumps(contract.json_schema(), indent=2))
        return
    known = next((name for name in layouts.LAYOUTS if name == layout), None)
    if known is None:
        raise typer.BadParameter(f"--layout is one of {', '.join(layouts.LAYOUTS)}")
    print(json.dumps(layouts.json_schema(known), indent=2))
