"""Outgoing webhooks: who is told of what, what became of it, and telling it once more."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field
from starlette.responses import Response

from router.api import hooks
from router.api.endpoints import read_as
from router.dashboard.pages import Visit, to
from router.records.notices import EVENT_TYPES

HERE: Final = "/hooks"
HOUR_S: Final = 3600.0
STATES: Final = ("waiting", "delivered", "given_up")
_WANTS: Final = "wants "  # before the name of an event, in a form


class Lately(BaseModel):
    """The last hours."""

    hours: Annotated[float, Field(gt=0, le=10_000)] = 24.0


async def show(visit: Visit) -> Response:
    """Show the hooks of the tenant, and a page of what they were told."""
    return await _page(visit)


async def add(visit: Visit) -> Response:
    """Add a hook, and show its secret on this page and never again."""
    asked = {"url": visit.form.get("url", "").strip(), "note": visit.form.get("note", "").strip()}
    wanted: Any = read_as(hooks.NewHook, asked | {"events": _events(visit)}, "form")
    _, secret = await hooks.new_hook(visit, wanted)
    return await _page(visit, secret=secret)


async def change(visit: Visit) -> Response:
    """Change a hook: address, note, events, whether it is told anything."""
    form = visit.form
    changes: dict[str, Any] = {"events": _events(visit), "note": form.get("note", "").strip()}
    if form.get("url", "").strip():
        changes["url"] = form["url"].strip()
    if form.get("state") in ("on", "off"):
        changes["disabled"] = form["state"] == "off"
    wanted: Any = read_as(hooks.ChangedHook, changes, "form")
    await hooks.changed_hook(visit, form.get("id", ""), wanted)
    return to(HERE)


async def rotate(visit: Visit) -> Response:
    """Give a hook a new secret, and show it on this page and never again."""
    secret = await hooks.new_secret_of(visit, visit.form.get("id", ""))
    return await _page(visit, secret=secret)


async def remove(visit: Visit) -> Response:
    """Remove a hook, and with it what it was told."""
    await hooks.end_hook(visit, visit.form.get("id", ""))
    return to(HERE)


async def send_again(visit: Visit) -> Response:
    """Send one notice once more, or what a hook did not take in the last hours."""
    form = visit.form
    if "notice" in form:
        await hooks.send_again(visit, form["notice"])
        return to(f"{HERE}#told")
    asked = {"hours": form["hours"]} if form.get("hours") else {}
    lately: Any = read_as(Lately, asked, "form")
    since = max(0.0, visit.services.clock() - lately.hours * HOUR_S)
    wanted = hooks.Range(since=since, delivered_too=form.get("delivered_too") == "on")
    await hooks.send_range_again(visit, form.get("id", ""), wanted)
    return to(f"{HERE}#told")


def _events(visit: Visit) -> list[str]:
    return [name for name in EVENT_TYPES if f"{_WANTS}{name}" in visit.form]


async def _page(visit: Visit, secret: str = "") -> Response:
    # After a form there is no query: the page is that without one.
    asked = visit.query if isinstance(visit.query, hooks.WhichNotices) else hooks.WhichNotices()
    known = await visit.services.hooks.all(visit.tenant)
    page = await hooks.find_notices(visit, asked)
    failing = [hook.id for hook in known if hook.failing_since is not None]
    errors = {one: await visit.services.hooks.last_error(one, visit.tenant) for one in failing}
    twin = asked.model_dump(exclude_none=True, exclude_unset=True, exclude={"numbers", "format"})
    return visit.render(
        "hooks.html",
        hooks=known,
        errors=errors,
        named={hook.id: hook.note or hook.url for hook in known},
        rows=page.rows,
        following=page.next,
        which=asked,
        twin=twin,
        filtered=bool(twin.keys() - {"cursor", "limit"}),
        kinds=EVENT_TYPES,
        states=STATES,
        wants=_WANTS,
        secret=secret,
    )
