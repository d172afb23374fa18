"""Hooks: whom to tell of events, and what has become of what they were told."""

from dataclasses import asdict, fields
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from router.api.calls import Listing, Seconds, bad_cursor, listed
from router.api.endpoints import Ask, Asking, note
from router.api.tables import csv_of
from router.errors import BadCursor, HookRefused, RequestRefused
from router.hook_urls import check_url
from router.records.hooks import Hook, Notice
from router.records.notices import EVENT_TYPES, EventType, NoticeState
from router.records.pages import Page

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
_MAX_ID: Final = 2**63 - 1
Url = Annotated[str, Field(min_length=1, max_length=2000, description="http or https")]
Events = Annotated[list[EventType], Field(min_length=1, max_length=len(EVENT_TYPES))]
Note = Annotated[str, Field(max_length=200, description="what it is for")]


class HookShown(BaseModel):
    """Somebody who is told; times are Unix seconds."""

    id: str
    url: str
    events: list[EventType]
    note: str
    created_at: float
    failing_since: float | None = Field(description="nothing was taken since then")
    disabled_at: float | None
    disabled_because: Literal["operator", "failing", "gone"] | None


class HooksShown(BaseModel):
    """All hooks of the tenant."""

    items: list[HookShown]


class NewHook(BaseModel):
    """Whom to tell of what."""

    model_config = _STRICT
    url: Url
    events: Events = list(EVENT_TYPES)
    note: Note = ""


class HookMade(HookShown):
    """A hook with its secret, which is not shown again."""

    secret: str = Field(description="whsec_…, of the Standard Webhooks specification")


class SecretMade(BaseModel):
    """A new secret, which is not shown again."""

    secret: str


class ChangedHook(BaseModel):
    """What is to change; what is left out stays."""

    model_config = _STRICT
    url: Url | None = None
    events: Events | None = None
    note: Note | None = None
    disabled: bool | None = None


class WhichNotices(Listing):
    """Which notices; what is left out does not matter."""

    hook: Annotated[str | None, Field(max_length=16, description="a hook's id")] = None
    state: NoticeState | None = None
    event: EventType | None = None


class NoticeShown(BaseModel):
    """One event for one hook; times are Unix seconds."""

    id: int
    hook_id: str
    event_id: str = Field(description="the header webhook-id")
    type: EventType
    call_id: str | None
    created_at: float
    state: NoticeState
    due_at: float = Field(description="when it is tried next, if it is waiting")
    tries: int
    tried_at: float | None
    status: int | None = Field(description="of the last answer")
    error: str | None


class NoticesShown(BaseModel):
    """A page of notices, the latest first."""

    items: list[NoticeShown]
    next: str | None = Field(description="cursor of the next page")


class Range(BaseModel):
    """A time; *until* is not included."""

    model_config = _STRICT
    since: Annotated[float, Field(ge=0, le=1e11, description="Unix seconds")]
    until: Seconds = None
    delivered_too: bool = False


class Replayed(BaseModel):
    """How many are sent once more."""

    replayed: int


async def list_hooks(ask: Ask) -> Response:
    """List the hooks of the tenant."""
    listed = [_shown(one) for one in await ask.services.hooks.all(ask.tenant)]
    if ask.query.format == "csv":
        rows = [row | {"events": " ".join(row["events"])} for row in listed]
        columns = tuple(HookShown.model_fields)
        return Response(csv_of(rows, columns), media_type="text/csv; charset=utf-8")
    return JSONResponse({"items": listed})


async def add_hook(ask: Ask) -> Response:
    """Add a hook; its secret is in this answer and nowhere else."""
    hook, secret = await new_hook(ask, ask.body)
    return JSONResponse({**_shown(hook), "secret": secret}, 201)


async def new_hook(ask: Asking, wanted: NewHook) -> tuple[Hook, str]:
    """Add a hook to the tenant, and make its secret; raises RequestRefused."""
    try:
        check_url(wanted.url, ask.services.notifier.neighbours)
        hook, secret = await ask.services.hooks.add(
            wanted.url, wanted.events, note=wanted.note, tenant=ask.tenant
        )
    except HookRefused as exc:
        raise _refused(exc) from None
    await note(ask, "hook.added", hook.id)
    return hook, secret


async def change_hook(ask: Ask) -> Response:
    """Change a hook."""
    await changed_hook(ask, ask.path("id"), ask.body)
    return Response(status_code=204)


async def changed_hook(ask: Asking, hook_id: str, wanted: ChangedHook) -> None:
    """Change what *wanted* says of a hook; raises RequestRefused."""
    try:
        if wanted.url is not None:
            check_url(wanted.url, ask.services.notifier.neighbours)
    except HookRefused as exc:
        raise _refused(exc) from None
    done = await ask.services.hooks.change(
        hook_id,
        ask.tenant,
        disabled=wanted.disabled,
        events=wanted.events,
        url=wanted.url,
        note=wanted.note,
    )
    if not done:
        raise _unknown()
    await note(ask, "hook.changed", hook_id)


async def remove_hook(ask: Ask) -> Response:
    """Remove a hook and its notices."""
    await end_hook(ask, ask.path("id"))
    return Response(status_code=204)


async def end_hook(ask: Asking, hook_id: str) -> None:
    """Remove a hook and its notices; raises RequestRefused."""
    if not await ask.services.hooks.remove(hook_id, ask.tenant):
        raise _unknown()
    await note(ask, "hook.removed", hook_id)


async def rotate_secret(ask: Ask) -> Response:
    """Make a new secret; for a day the old one signs too."""
    return JSONResponse({"secret": await new_secret_of(ask, ask.path("id"))})


async def new_secret_of(ask: Asking, hook_id: str) -> str:
    """Give a hook a new secret and return it; raises RequestRefused."""
    secret = await ask.services.hooks.rotate(hook_id, ask.tenant)
    if secret is None:
        raise _unknown()
    await note(ask, "hook.secret_rotated", hook_id)
    return secret


async def list_notices(ask: Ask) -> Response:
    """List what hooks were told, the latest first."""
    page = await find_notices(ask, ask.query)
    columns = tuple(field.name for field in fields(Notice))
    return await listed(ask, [asdict(row) for row in page.rows], page.next, columns)


async def find_notices(ask: Asking, asked: WhichNotices) -> Page[Notice]:
    """Find a page of notices; raises RequestRefused."""
    try:
        return await ask.services.hooks.notices(
            ask.tenant,
            hook_id=asked.hook,
            state=asked.state,
            event=asked.event,
            cursor=asked.cursor,
            limit=asked.limit,
        )
    except BadCursor:
        raise bad_cursor() from None


async def replay_one(ask: Ask) -> Response:
    """Send one notice once more."""
    await send_again(ask, ask.path("id"))
    return Response(status_code=204)


async def send_again(ask: Asking, notice: str) -> None:
    """Have a notice be sent once more; raises RequestRefused."""
    known = notice.isascii() and notice.isdigit() and len(notice) < len(str(_MAX_ID))
    if not known or not await ask.services.hooks.replay(int(notice), ask.tenant):
        fix = "GET /api/hooks/notices lists them"
        raise RequestRefused("no_such_notice", status=404, fix=fix)
    await note(ask, "notice.replayed", notice)


async def replay_range(ask: Ask) -> Response:
    """Send what a hook was told in a time once more."""
    replayed = await send_range_again(ask, ask.path("id"), ask.body)
    return JSONResponse({"replayed": replayed})


async def send_range_again(ask: Asking, hook_id: str, wanted: Range) -> int:
    """Have a hook be told of a time once more; return how much; raises RequestRefused."""
    if hook_id not in {hook.id for hook in await ask.services.hooks.all(ask.tenant)}:
        raise _unknown()
    replayed = await ask.services.hooks.replay_range(
        hook_id,
        ask.tenant,
        since=wanted.since,
        until=ask.services.clock() if wanted.until is None else wanted.until,
        delivered_too=wanted.delivered_too,
    )
    await note(ask, "notices.replayed", f"{hook_id} {replayed}")
    return replayed


def _shown(hook: Hook) -> dict[str, Any]:
    return {name: getattr(hook, name) for name in HookShown.model_fields}


def _refused(exc: HookRefused) -> RequestRefused:
    return RequestRefused(exc.reason, status=422, fix=exc.fix)


def _unknown() -> RequestRefused:
    return RequestRefused("no_such_hook", status=404, fix="GET /api/hooks lists them")
