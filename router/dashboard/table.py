"""Every page, and who may see it."""

from typing import Final

from router.api.calls import WhichNumbers
from router.api.do_not_call import WhichEntries
from router.dashboard import calls, campaigns, do_not_call, leads, numbers, operations, sessions
from router.dashboard.overview import overview
from router.dashboard.pages import Page

UPLOADS: Final = ("/csv/upload", 10)  # in a minute, together with the API's

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
        path="/campaigns",
        handler=campaigns.list_campaigns,
        needs="viewer",
        title="Campaigns",
        query=campaigns.Which,
    ),
    Page(
        method="POST",
        path="/campaigns",
        handler=campaigns.create,
        needs="operator",
        title="Campaigns",
    ),
    Page(
        method="POST",
        path="/campaigns/import",
        handler=campaigns.import_file,
        needs="operator",
        title="Campaigns",
        upload=True,
        per_minute=UPLOADS,
    ),
    Page(
        method="GET",
        path="/campaigns/{key}",
        handler=campaigns.show,
        needs="viewer",
        title="Campaign",
    ),
    Page(
        method="POST",
        path="/campaigns/{key}/change",
        handler=campaigns.change,
        needs="operator",
        title="Campaign",
        form_bytes=campaigns.MAX_FORM_BYTES,
    ),
    Page(
        method="GET",
        path="/campaigns/{key}/launch",
        handler=campaigns.launch,
        needs="viewer",
        title="Launch preview",
        query=campaigns.Launch,
    ),
    Page(
        method="POST",
        path="/campaigns/{key}/duplicate",
        handler=campaigns.duplicate,
        needs="operator",
        title="Campaign",
    ),
    Page(
        method="POST",
        path="/campaigns/{key}/archive",
        handler=campaigns.archive,
        needs="operator",
        title="Campaign",
    ),
    Page(
        method="GET",
        path="/leads",
        handler=leads.list_lists,
        needs="viewer",
        title="Leads",
    ),
    Page(
        method="POST",
        path="/leads",
        handler=leads.upload,
        needs="operator",
        title="Leads",
        upload=True,
        per_minute=UPLOADS,
    ),
    Page(
        method="GET",
        path="/leads/{name}",
        handler=leads.show,
        needs="viewer",
        title="Leads",
        query=leads.WhichRows,
    ),
    Page(
        method="POST",
        path="/leads/{name}/select",
        handler=leads.select,
        needs="operator",
        title="Leads",
    ),
    Page(
        method="POST",
        path="/leads/{name}/delete",
        handler=leads.delete,
        needs="operator",
        title="Leads",
    ),
    Page(
        method="GET",
        path="/dnc",
        handler=do_not_call.list_entries,
        needs="operator",
        title="Do not call",
        query=WhichEntries,
    ),
    Page(
        method="POST",
        path="/dnc",
        handler=do_not_call.add,
        needs="operator",
        title="Do not call",
    ),
    Page(
        method="POST",
        path="/dnc/remove",
        handler=do_not_call.remove,
        needs="operator",
        title="Do not call",
    ),
    Page(
        method="POST",
        path="/dnc/import",
        handler=do_not_call.import_file,
        needs="operator",
        title="Do not call",
        upload=True,
        per_minute=UPLOADS,
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
