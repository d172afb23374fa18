"""The journal for people: deliveries, one of them whole, and deciding on it again."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from router.api.deliveries import (
    REPLAYS_PER_MINUTE,
    WhichDeliveries,
    again,
    entry_of,
    row_of,
)
from router.dashboard.pages import Visit
from router.errors import BadCursor, RequestRefused
from router.records.entries import Entry, Which, deliveries_of


async def list_deliveries(visit: Visit) -> Response:
    """Show a page of deliveries, the latest first."""
    asked: WhichDeliveries = visit.query
    which = Which(verdict=asked.verdict, event=asked.event, call_id=asked.call_id)
    try:
        page = await deliveries_of(
            visit.services.store, visit.tenant, which, asked.cursor, asked.limit
        )
    except BadCursor:
        fix = "go back to the first page"
        raise RequestRefused("bad_cursor", status=422, fix=fix) from None
    twin = asked.model_dump(exclude_none=True, exclude_unset=True, exclude={"numbers", "format"})
    return visit.render(
        "webhooks.html",
        rows=await visit.shown([row_of(one) for one in page.rows], clear=False),
        following=page.next,
        which=asked,
        twin=twin,
        filtered=bool(twin.keys() - {"cursor", "limit"}),
    )


async def show_delivery(visit: Visit) -> Response:
    """Show one delivery."""
    return await _page(visit, await _entry(visit), None)


async def replay_delivery(visit: Visit) -> Response:
    """Decide on a delivery again, and show what would be different."""
    entry = await _entry(visit)
    if visit.principal is not None:
        await visit.services.access.limit("replay", REPLAYS_PER_MINUTE, visit.principal)
    redrive = visit.form.get("redrive") == "yes"
    came = await again(visit.request, visit.services, visit.principal, entry, redrive=redrive)
    return await _page(visit, entry, came)


async def _entry(visit: Visit) -> Entry:
    return await entry_of(visit.services, visit.tenant, visit.request.path_params["id"])


async def _page(visit: Visit, entry: Entry, came: Mapping[str, Any] | None) -> Response:
    settings = visit.services.settings
    base = settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}"
    return visit.render(
        "webhook.html",
        one=await visit.shown(row_of(entry), clear=False),
        stages=[{"name": name, "ms": ms} for name, ms in entry.stages.items()],
        longest=max(entry.stages.values(), default=0),
        is_call=entry.again is not None,
        came=await visit.shown(came, clear=False),
        lines=_lines(entry, base),
    )


def _lines(entry: Entry, base: str) -> dict[str, str]:
    """Give commands that can be copied: without a secret, and with a name for each number."""
    trigger = ["persona-router", "trigger", entry.event or "participant_joined", "--to", base]
    if trunk := entry.attributes.get("sip.trunkID"):
        trigger += ["--trunk", trunk]
    numbers = ' --number "$NUMBER" --from "$CALLER"' if entry.again else ""
    body = shlex.quote(json.dumps({"redrive": False}))
    return {
        "trigger": shlex.join(trigger) + numbers,
        "curl": f"curl -X POST {shlex.quote(f'{base}/api/deliveries/{entry.id}/replay')}"
        ' -H "Authorization: Bearer $TOKEN"'
        f" -H 'Content-Type: application/json' -d {body}",
    }
