"""`hooks …`: who is told of events. They write to the database themselves."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere
from router.cli.kept import AsJson, settings_for, with_store
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.records.hooks import Hooks
    from router.settings import RouterSettings

T = TypeVar("T")

app = typer.Typer(help="Who is told of events by webhook.", no_args_is_help=True)

HookId = Annotated[str, typer.Argument(help="Its id, as `hooks list` shows it.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose hooks.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]
_UNKNOWN = "there is no such hook; `persona-router hooks list` shows them"


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where to: http or https.")],
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Of what, again for more; default: all.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What it is for.")] = "",
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Have somebody be told; prints the secret, which nothing can do again."""
    from router.addresses import Neighbours
    from router.hook_urls import check_url
    from router.records.notices import EVENT_TYPES

    wanted = [known for known in EVENT_TYPES if not event or known in event]
    if event and len(wanted) != len(set(event)):
        raise typer.BadParameter(f"the events are {', '.join(EVENT_TYPES)}")
    settings = settings_for(dev)
    check_url(url, Neighbours.of(settings.hook_private_hosts))
    hook, secret = _with_hooks(lambda h: h.add(url, wanted, note=note, tenant=tenant), settings)
    print(f"added: {hook.id}", file=sys.stderr)
    print(secret)


@app.command("list")
def list_hooks(as_json: AsJson = False, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """List them, without their secrets."""
    found = _with_hooks(lambda hooks: hooks.all(tenant), settings_for(dev))
    if as_json:
        print(json.dumps([asdict(hook) for hook in found]))
        return
    if not found:
        print("there are none; `persona-router hooks add URL`", file=sys.stderr)
    for hook in found:
        state = (
            "well" if hook.failing_since is None else f"failing since {_day(hook.failing_since)}"
        )
        if hook.disabled_at is not None:
            state = f"disabled ({hook.disabled_because})"
        print(f"{hook.id}  {state:<28} {','.join(hook.events):<40} {hook.url}")


@app.command()
def disable(hook: HookId, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Tell it nothing more; what happens meanwhile is not kept for it."""
    _change(hook, tenant, dev, disabled=True)
    print("disabled")


@app.command()
def enable(hook: HookId, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Tell it again, beginning with what was waiting."""
    _change(hook, tenant, dev, disabled=False)
    print("enabled")


@app.command()
def remove(hook: HookId, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Remove it and what it was told."""
    if not _with_hooks(lambda hooks: hooks.remove(hook, tenant), settings_for(dev)):
        raise NotThere(_UNKNOWN)
    print("removed")


@app.command()
def rotate(hook: HookId, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Print a new secret; for a day the old one signs too."""
    secret = _with_hooks(lambda hooks: hooks.rotate(hook, tenant), settings_for(dev))
    if secret is None:
        raise NotThere(_UNKNOWN)
    print(secret)


@app.command()
def notices(
    hook: Annotated[str, typer.Option("--hook", help="Of this one alone.")] = "",
    state: Annotated[str, typer.Option("--state", help="waiting, delivered or given_up.")] = "",
    last: Annotated[int, typer.Option("--last", min=1, max=500, help="How many.")] = 50,
    as_json: AsJson = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """List what they were told, the latest first, and what became of it."""
    page = _with_hooks(
        lambda hooks: hooks.notices(tenant, hook_id=hook or None, state=state or None, limit=last),
        settings_for(dev),
    )
    if as_json:
        print(json.dumps([asdict(row) for row in page.rows]))
        return
    if not page.rows:
        print("there are none", file=sys.stderr)
    for row in page.rows:
        how = f"{row.tries} tries{', ' + row.error if row.error else ''}"
        at = _day(row.created_at)
        print(f"{row.id:<8} {row.hook_id}  {row.type:<17} {at}  {row.state:<10} {how}")


@app.command()
def replay(
    which: Annotated[str, typer.Argument(help="A notice's id, or with --since a hook's.")],
    since: Annotated[
        datetime | None, typer.Option("--since", help="Those of a hook from then on (UTC).")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Up to then (UTC).")] = None,
    delivered_too: Annotated[
        bool, typer.Option("--delivered-too", help="Also what was delivered.")
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Send a notice once more, under the same id, or those of a time."""
    settings = settings_for(dev)
    if since is None:
        known = which.isascii() and which.isdigit() and len(which) < len(str(2**63))
        if not known or not _with_hooks(lambda h: h.replay(int(which), tenant), settings):
            raise NotThere("there is no such notice; `persona-router hooks notices` shows them")
        print("it is sent once more by a router that runs")
        return
    end = time.time() if until is None else until.replace(tzinfo=UTC).timestamp()
    count = _with_hooks(
        lambda hooks: hooks.replay_range(
            which,
            tenant,
            since=since.replace(tzinfo=UTC).timestamp(),
            until=end,
            delivered_too=delivered_too,
        ),
        settings,
    )
    print(f"{count} are sent once more by a router that runs")


def _change(hook: str, tenant: str, dev: bool, *, disabled: bool) -> None:
    changed = _with_hooks(lambda h: h.change(hook, tenant, disabled=disabled), settings_for(dev))
    if not changed:
        raise NotThere(_UNKNOWN)


def _with_hooks(work: Callable[["Hooks"], Awaitable[T]], settings: "RouterSettings") -> T:
    from router.records.hooks import Hooks
    from router.services import seal_from

    seal = seal_from(settings)
    return with_store(settings, lambda store: work(Hooks(store, clock=time.time, seal=seal)))


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
