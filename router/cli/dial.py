"""`dial`: a menu to call the leads of a list, one by one, as the dialer's page does."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from router.cli.call import Dev, Tenant, To, follow
from router.cli.exits import FAILED, CheckFailed, NotThere, PolicyRefused
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from rich.console import Console

    from router.cli.router_api import RouterApi

ROWS: Final = 10
MAX_PAGE: Final = 500  # attempts in one answer
KEYS: Final = (
    "[b]Enter[/b] calls →  [b]1 2 …[/b] calls that one  [b]+49…[/b] calls that number  "
    "[b]n p[/b] pages  [b]c[/b] campaign  [b]l[/b] list  [b]q[/b] ends"
)


@dataclass(slots=True)
class Session:
    """Who is to be called for what, and how far it is."""

    api: "RouterApi"
    console: "Console"
    campaign: str = "default"
    list: str = ""
    leads: int = 0
    after: int = 0  # the page begins behind this lead
    next: int = 1  # behind the last one: nobody
    called: set[int] = field(default_factory=set)  # leads who were called already
    is_sure: bool = False  # the first call of a session is asked for


def dial(
    campaign: Annotated[str, typer.Option(help="Begin with this campaign.")] = "",
    lead_list: Annotated[str, typer.Option("--list", help="Begin with this list.")] = "",
    tenant: Tenant = DEFAULT_TENANT,
    to: To = "",
    dev: Dev = False,
) -> None:
    """Call the leads of a list from a menu: campaign, list, number to call, Enter, n, p, q."""
    from rich.console import Console

    from router.cli.router_api import RouterApi
    from router.settings import RouterSettings

    settings = RouterSettings.load(router_dev=dev or None)
    api = RouterApi(settings, to, tenant)
    session = Session(api, Console(highlight=False, soft_wrap=True))
    try:
        choose_campaign(session, campaign)
        choose_list(session, lead_list)
        while step(session):
            pass
    except (EOFError, KeyboardInterrupt):
        session.console.print()
    finally:
        session.api.close()


def step(session: Session) -> bool:
    """Show the page, take one command; False: the session is over."""
    show(session)
    said = session.console.input("> ").strip()
    match said.lower():
        case "q":
            return False
        case "n":
            turn(session, session.after + ROWS if session.after + ROWS < session.leads else 0)
        case "p":
            turn(session, max(0, session.after - ROWS))
        case "c":
            choose_campaign(session, "")
        case "l":
            choose_list(session, "")
        case "" if session.next <= session.leads:
            call(session, {"lead": session.next})
        case word if word.isdecimal() and len(word) <= len(str(session.leads)):
            call(session, {"lead": int(word)})
        case "":
            print("nobody is next; write a place or a number, or turn the page", file=sys.stderr)
        case _:
            call(session, {"number": said})
    return True


def call(session: Session, whom: dict[str, Any]) -> None:
    """Call somebody and follow it to its end; then ask how it was."""
    if not session.is_sure:
        answer = session.console.input("a real phone will ring; call? \\[y/N] ")
        session.is_sure = answer.strip().lower() in {"y", "yes", "j", "ja"}
        if not session.is_sure:
            return
    wanted = {"campaign": session.campaign, **whom}
    if "lead" in whom:
        wanted["list"] = session.list
    try:
        made = session.api.post("/attempts", wanted)
        ended = follow(session.api, made["attempt_id"])
    except (PolicyRefused, NotThere, CheckFailed) as exc:
        print(f"{FAILED} {exc}", file=sys.stderr)
        ended = None
    if "lead" in whom:
        session.called.add(int(whom["lead"]))
        go_on(session, int(whom["lead"]) + 1)
    if ended is not None:
        session.console.print(f"[b]{ended['state']}[/b] {_plain(ended['because'])}")
        _ask_how_it_was(session, ended)


def go_on(session: Session, first: int) -> None:
    """Point at the first lead from *first* on who was not called yet."""
    session.next = next(
        (place for place in range(first, session.leads + 1) if place not in session.called),
        session.leads + 1,
    )
    session.after = (min(session.next, max(1, session.leads)) - 1) // ROWS * ROWS


def turn(session: Session, after: int) -> None:
    """Turn to the page behind *after*; nobody is pointed at who was called already."""
    go_on(session, after + 1)
    session.after = after


def _ask_how_it_was(session: Session, ended: dict[str, Any]) -> None:
    note = session.console.input("note (Enter: none) > ").strip()
    word = session.console.input(f"ended as (Enter: {ended['disposition']}) > ").strip()
    said = {"note": note} if note else {}
    said |= {"disposition": word.replace(" ", "_")[:32]} if word else {}
    if said:
        session.api.patch(f"/attempts/{ended['attempt_id']}", said)


def show(session: Session) -> None:
    """Print the page of prospects; the next one has an arrow."""
    from rich.table import Table

    title = f"{session.campaign} · {session.list or '—'}"
    table = Table(title=_plain(title), title_justify="left", box=None, pad_edge=False)
    for name in ("", "No.", "Name", "Company", "Title", "Number"):
        table.add_column(name, justify="right" if name == "No." else "left")
    for position, row in enumerate(_rows(session), session.after + 1):
        arrow = "→" if position == session.next else ""
        cells = (
            row.get(one, "") for one in ("prospect_name", "company_name", "job_title", "phone")
        )
        table.add_row(arrow, str(position), *(_plain(cell or "") for cell in cells))
    session.console.print(table)
    session.console.print(KEYS)


def _rows(session: Session) -> list[dict[str, Any]]:
    if not session.list:
        return []
    query = {"name": session.list, "limit": ROWS, "after": session.after}
    rows: list[dict[str, Any]] = session.api.get("/csv/preview", **query)["rows"]
    return rows


def choose_campaign(session: Session, wanted: str) -> None:
    """Take *wanted*, else ask; raises NotThere."""
    items = session.api.get("/campaigns")["items"]
    keys = [one["key"] for one in items if not one["archived"]]
    if not wanted:
        wanted = _choose(session, "campaign", keys, session.campaign)
    if wanted not in keys:
        raise NotThere("there is no such campaign; `persona-router campaign list` shows them")
    session.campaign = wanted


def choose_list(session: Session, wanted: str) -> None:
    """Take *wanted*, else ask; raises NotThere."""
    files = session.api.get("/csv/list")["files"]
    active = next((one["name"] for one in files if one["active"]), "")
    if files and not wanted:
        wanted = _choose(session, "list", [one["name"] for one in files], active)
    found = next((one for one in files if one["name"] == wanted), None)
    if found is None and wanted:
        raise NotThere("there is no such list; `persona-router leads list` shows them")
    session.list, session.leads = (found["name"], found["leads"]) if found else ("", 0)
    session.called = set()
    if found:
        session.called = set(_called(session.api, found["name"]))
    go_on(session, 1)


def _called(api: "RouterApi", lead_list: str) -> Iterator[int]:
    """Give the places of those in a list who were called at any time."""
    query: dict[str, Any] = {"list": lead_list, "limit": MAX_PAGE}
    while True:
        page = api.get("/attempts", **query)
        yield from (one["position"] for one in page["items"] if one["state"] != "refused")
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def _choose(session: Session, what: str, names: list[str], usual: str) -> str:
    for place, name in enumerate(names, 1):
        session.console.print(f"{'*' if name == usual else ' '} {place} {_plain(name)}")
    while True:
        said = session.console.input(f"{what} (Enter: {_plain(usual) or 'none'}) > ").strip()
        if not said:
            return usual
        if said in names:
            return said
        if said.isdecimal() and 1 <= int(said[:6]) <= len(names):
            return names[int(said[:6]) - 1]
        print("write its place or its name", file=sys.stderr)


def _plain(text: str) -> str:
    """Keep what others wrote from being read as styles, or as commands of the terminal."""
    from rich.markup import escape

    return escape("".join(one for one in text if one.isprintable()))


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(dial)
