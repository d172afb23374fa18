"""The dialer: prospects page by page, a call by a click, what goes on, and how it was."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field
from starlette.responses import Response

from router.api.attempts import (
    MAX_NOTE_CHARS,
    NewAttempt,
    Said,
    document_of,
    find_attempt,
    hang_up,
    place,
    say,
)
from router.api.calls import WhichNumbers
from router.api.campaigns import find_campaign
from router.api.dialing import start_campaign
from router.api.endpoints import read_as
from router.api.leads import find_list
from router.campaigns.model import DEFAULT
from router.campaigns.refusals import fix_of
from router.dashboard.pages import Visit, failed, safe_path, to
from router.dashboard.rendering import query
from router.dashboard.runs import wish
from router.errors import RequestRefused
from router.records.attempts import Attempt
from router.records.outcomes import AttemptFilter, Outcomes

ROWS: Final = 20
MAX_DIGITS: Final = 8  # of a place in a list
FORM_BYTES: Final = 16 * MAX_NOTE_CHARS
COOKIE: Final = "persona_dials"
#: What an operator may say of a call, beside what the network said.
DISPOSITIONS: Final = (
    "answered",
    "voicemail",
    "no_answer",
    "busy",
    "declined",
    "interested",
    "not_interested",
    "call_back",
    "wrong_person",
    "failed",
)
Name = Annotated[str, Field(max_length=100)]


class Which(WhichNumbers):
    """The campaign, the list, and how far the pages are turned."""

    campaign: Name = ""
    list: Name = ""
    after: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    at: Annotated[int, Field(ge=0, le=10_000_000, description="who is next, or behind")] = 0
    auto_next: Literal["", "on", "off"] = ""  # empty: as the campaign has it


class WhichAttempt(WhichNumbers):
    """How it is shown, and where a note leads back to."""

    next: Annotated[str, Field(max_length=1_000)] = ""


async def dialer(visit: Visit) -> Response:
    """Show it."""
    asked: Which = visit.query
    services, tenant = visit.services, visit.tenant
    listed = [one for one in await services.campaigns.list(tenant) if not one.archived]
    known = await find_campaign(visit, asked.campaign or DEFAULT.key)
    lists = await services.leads.lists(tenant)
    chosen = next((one for one in lists if one.name == asked.list), None)
    chosen = chosen or next((one for one in lists if one.active), None)
    key, clear = known.campaign.key, asked.numbers == "clear"
    page = []
    if chosen is not None:
        page = list(await services.leads.page(chosen, after=asked.after, limit=ROWS))
    outcomes = Outcomes(services.store)
    last = await outcomes.last_of(tenant, [one.lead.phone for one in page])
    status = await services.engine.status(key, tenant=tenant)
    recent = await outcomes.page(AttemptFilter(tenant=tenant, campaign=key), limit=5)
    rows = [
        {
            "position": one.position,
            **asdict(one.lead),
            "last": _brief(last.get(one.lead.phone)),
        }
        for one in page
    ]
    at = (row["position"] for row in rows if row["last"] is None and row["position"] >= asked.at)
    shown = await visit.shown(
        {
            "rows": rows,
            "current": [document_of(one) for one in status.current],
            "recent": [document_of(one) for one in recent.rows if not one.is_open],
        },
        clear=clear,
    )
    return visit.render(
        "dialer.html",
        campaigns=[one.campaign for one in listed],
        known=known,
        lists=lists,
        chosen=chosen,
        standing=status,
        state=state_of(status.state, status.current),
        after=asked.after,
        before=max(0, asked.after - ROWS),
        last=page[-1].position if page else asked.after,
        at=next(at, 0),  # nobody is called twice because of a key
        auto_next=asked.auto_next == "on" if asked.auto_next else known.campaign.auto_next,
        clear=clear,
        now=services.clock(),
        **shown,
    )


async def call(visit: Visit) -> Response:
    """Call a lead or a number; before the first one of a session, ask."""
    form = visit.form
    back = safe_path(form.get("next", "/dialer"))
    dialing = ("campaign", "list", "lead", "number", "auto_next")
    wanted = {name: form[name] for name in dialing if form.get(name)}
    if not _has_said_so(visit) and not form.get("sure"):
        return visit.render("dial.html", wanted=wanted, back=back)
    auto_next = wanted.pop("auto_next", None)
    onward = _behind(back, wanted["lead"], auto_next) if "lead" in wanted else back
    try:
        if auto_next and "lead" in wanted:
            await _go_through(visit, wanted)
        else:
            await place(visit, read_as(NewAttempt, wanted, "form"))
    except RequestRefused as exc:
        answer = failed(visit, exc.status, exc.reason, exc.fix, back=onward)
    else:
        answer = to(onward)
    tail = "; Secure" if visit.secure else ""
    said = f"{COOKIE}={_word_of(visit)}; Path=/dialer; HttpOnly; SameSite=Strict{tail}"
    answer.headers["set-cookie"] = said
    return answer


async def end(visit: Visit) -> Response:
    """Hang up."""
    await hang_up(visit, visit.form.get("attempt_id", ""))
    return to(safe_path(visit.form.get("next", "/dialer")))


async def stop(visit: Visit) -> Response:
    """Have a campaign call nobody after the calls that go on."""
    await wish(visit, visit.form.get("campaign", ""), "stop")
    return to(safe_path(visit.form.get("next", "/dialer")))


async def show_attempt(visit: Visit) -> Response:
    """Show one attempt: what became of it, why it was allowed, and the form for a note."""
    asked: WhichAttempt = visit.query
    found = await find_attempt(visit, visit.path("id"))
    record = await visit.services.calls.get(found.attempt_id, visit.tenant)
    clear = asked.numbers == "clear"
    return visit.render(
        "attempt.html",
        one=await visit.shown(document_of(found), clear=clear),
        has_record=record is not None,
        fix=fix_of(found.because),
        dispositions=DISPOSITIONS,
        back=safe_path(asked.next) if asked.next else "",
        clear=clear,
        now=visit.services.clock(),
    )


async def annotate(visit: Visit) -> Response:
    """Keep a note and a disposition."""
    filled = {"note": visit.form.get("note", "").replace("\r\n", "\n").strip()}
    if visit.form.get("disposition"):
        filled["disposition"] = visit.form["disposition"]
    said = read_as(Said, filled, "form")
    attempt_id = visit.path("id")
    await say(visit, attempt_id, note_=said.note, disposition=said.disposition)
    return to(safe_path(visit.form.get("next", f"/attempts/{quote(attempt_id, safe='')}")))


def state_of(state: str, current: tuple[Attempt, ...]) -> str:
    """Say in one word what goes on: a single call that goes on is running too."""
    if any(one.hang_up is not None for one in current):
        return "stopping"
    return "running" if current and state == "idle" else state


async def _go_through(visit: Visit, wanted: Mapping[str, str]) -> None:
    """Call one lead after another, from this one on."""
    key = wanted.get("campaign", DEFAULT.key)
    found = await find_list(visit, wanted.get("list"))
    position = wanted["lead"]
    if not position.isascii() or not position.isdigit():
        raise RequestRefused("no_lead", status=422, fix="name a lead by its place, from 1")
    await start_campaign(visit, key, list_name=found.name, mode="next", position=int(position[:9]))


def _behind(path: str, lead: str, auto_next: str | None) -> str:
    """Give the dialer's address with the one behind *lead* as the next, and the box as it was."""
    parts = urlsplit(path)
    at = int(lead) + 1 if lead.isascii() and lead.isdigit() and len(lead) < MAX_DIGITS else None
    shown = dict(parse_qsl(parts.query))
    return f"{parts.path}?{query(shown, at=at, auto_next='on' if auto_next else 'off')}"


def _brief(attempt: Attempt | None) -> dict[str, Any] | None:
    if attempt is None:
        return None
    names = ("attempt_id", "state", "disposition", "because", "claimed_at", "ended_at", "note")
    return {name: getattr(attempt, name) for name in names}


def _word_of(visit: Visit) -> str:
    """Give what the cookie says in this session, and in no other."""
    session = visit.principal.csrf if visit.principal and visit.principal.csrf else "no session"
    return hashlib.sha256(f"dials {session}".encode()).hexdigest()[:32]


def _has_said_so(visit: Visit) -> bool:
    return hmac.compare_digest(visit.request.cookies.get(COOKIE, ""), _word_of(visit))
