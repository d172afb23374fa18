"""Settings: language and time zone for all; users, tokens, numbers and the audit for admins."""

import asyncio
from typing import Any
from zoneinfo import available_timezones

from starlette.responses import Response

from router.api import accounts, numbers
from router.api.endpoints import read_as
from router.dashboard.languages import LANGUAGES, language_cookie, zone_cookie
from router.dashboard.pages import Visit, safe_path, to
from router.principals import DEFAULT_TENANT, ROLES
from router.retention_shown import shown_days

DEEDS = 50


async def show(visit: Visit) -> Response:
    """Show what the reader's role may see."""
    return await _page(visit)


async def display(visit: Visit) -> Response:
    """Keep a reader's language and time zone."""
    answer = to(safe_path(visit.form.get("next", "/")))
    chosen, zone = visit.form.get("language", ""), visit.form.get("zone")
    if chosen in LANGUAGES:
        answer.headers.append("set-cookie", language_cookie(chosen, secure=visit.secure))
    if zone is not None and (not zone or zone in available_timezones()):
        answer.headers.append("set-cookie", zone_cookie(zone, secure=visit.secure))
    return answer


async def add_user(visit: Visit) -> Response:
    """Add a user."""
    names = ("email", "password", "role")
    wanted: Any = read_as(accounts.NewUser, _filled(visit, *names), "form")
    await accounts.new_user(visit, wanted)
    return to("/settings#users")


async def change_user(visit: Visit) -> Response:
    """Change a user: role, password, whether they may sign in."""
    changes: dict[str, Any] = _filled(visit, "role", "password")
    if (state := visit.form.get("state")) in ("on", "off"):
        changes["disabled"] = state == "off"
    wanted: Any = read_as(accounts.ChangedUser, changes, "form")
    await accounts.changed_user(visit, visit.form.get("email", ""), wanted)
    return to("/settings#users")


async def add_token(visit: Visit) -> Response:
    """Make a token, and show its secret on this page and never again."""
    wanted: Any = read_as(accounts.NewToken, _filled(visit, "name", "role", "days"), "form")
    _, secret = await accounts.new_token(visit, wanted)
    return await _page(visit, secret=secret)


async def revoke_token(visit: Visit) -> Response:
    """End a token at once."""
    await accounts.end_token(visit, visit.form.get("id", ""))
    return to("/settings#tokens")


async def change_number(visit: Visit) -> Response:
    """Give a number to a tenant, or back to the first one where none is named."""
    number, tenant = visit.form.get("number", ""), visit.form.get("tenant", "").strip()
    if tenant:
        await numbers.give(visit, number, tenant)
    else:
        await numbers.take_back(visit, number)
    return to("/settings#numbers")


def _filled(visit: Visit, *names: str) -> dict[str, Any]:
    return {name: visit.form[name] for name in names if visit.form.get(name)}


async def _page(visit: Visit, secret: str = "") -> Response:
    services, mine = visit.services, visit.principal
    is_admin = mine is not None and mine.may("admin")
    may_give = is_admin and visit.tenant == DEFAULT_TENANT
    known = services.access.accounts
    users, tokens, deeds, given = (
        await asyncio.gather(
            known.users(visit.tenant),
            known.tokens(visit.tenant),
            known.deeds(visit.tenant, DEEDS),
            services.numbers.list(None if may_give else visit.tenant),
        )
        if is_admin
        else ([], [], [], [])
    )
    shown = await visit.shown([{"number": one.number} for one in given], clear=False)
    return visit.render(
        "settings.html",
        users=users,
        tokens=tokens,
        deeds=deeds,
        given=[
            {"number": masked["number"], "tenant": one.tenant, "since": one.since}
            for one, masked in zip(given, shown, strict=True)
        ],
        is_admin=is_admin,
        may_give=may_give,
        roles=ROLES,
        secret=secret,
        kept=shown_days(services.settings),
        zones=sorted(available_timezones()),
    )
