"""Every page, and who may see it."""

from typing import Final

from router.api.calls import WhichNumbers
from router.dashboard import calls, numbers, operations, sessions
from router.dashboard.overview import overview
from router.dashboard.pages import Page

PAGES: Final[tuple[Page, ...]] = (
    Page(
        method="GET",
        path="/login",
        handler=sessions.form,
        needs="nothing",
        title="Sign in",
        query=sessions.Next,
    ),
    Page(method="POST", path="/login", handler=sessions.sign_in, needs="nothing", title="Sign in"),
    Page(
        method="POST", path="/logout", handler=sessions.sign_out, needs="viewer", title="Sign out"
    ),
    Page(
        method="POST",
        path="/language",
        handler=sessions.choose_language,
        needs="nothing",
        title="Language",
    ),
    Page(method="GET", path="/", handler=overview, needs="viewer", title="Overview"),
    Page(
        method="GET",
        path="/calls",
        handler=calls.list_calls,
        needs="viewer",
        title="Calls",
        query=calls.WhichRows,
    ),
    Page(
        method="GET",
        path="/calls/{id}",
        handler=calls.show_call,
        needs="viewer",
        title="Call",
        query=WhichNumbers,
    ),
    Page(
        method="GET",
        path="/who",
        handler=numbers.who,
        needs="operator",
        title="Who would answer?",
        query=numbers.Which,
    ),
    Page(
        method="GET",
        path="/webhooks",
        handler=operations.webhooks,
        needs="operator",
        title="Webhooks",
    ),
    Page(
        method="GET",
        path="/system",
        handler=operations.health,
        needs="viewer",
        title="Health",
    ),
    Page(
        method="GET",
        path="/settings",
        handler=operations.settings,
        needs="admin",
        title="Settings",
    ),
)
