"""Every door, knocked at by another tenant: a new route fails here until it is decided.

Each tenant has one of everything. Who owns it gets it, which proves that it is there; to everybody
else it does not exist, and nothing that they do changes a row of it.
"""

import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import httpx
import pytest

from personas.options import Calendar
from router.api.endpoints import Endpoint
from router.api.table import ENDPOINTS
from router.dashboard.pages import Page
from router.dashboard.table import PAGES
from router.records.journal import Delivered
from tests.router.api.rig import Rig, open_rig
from tests.router.tenancy import BLOCKED, NUMBERS, furnish, ids_of, mark, personas_of, rows_of

ITS = mark("north")
NUMBER = NUMBERS["north"].replace("+", "%2B")
REFUSED = BLOCKED["north"].replace("+", "%2B")


@dataclass(frozen=True, slots=True)
class Knock:
    """How the door to something of the tenant north is knocked at.

    ``hidden``: others hear that there is no such thing. ``own``: the same request is about the
    things of whoever asks. ``nothing``: no tenant's things are behind it.
    """

    kind: Literal["hidden", "own", "nothing"]
    path: str = ""  # with what it is about filled in
    body: Any = None
    form: dict[str, str] = field(default_factory=dict)
    shows: bool = False  # its owner sees the mark
    text: str = ""  # a body that is not JSON
    refused: str = ""  # why its owner is refused, though it is theirs


Door: TypeAlias = tuple[str, str, Knock]

OWN, SHOWN = Knock("own"), Knock("own", shows=True)
NOTHING = Knock("nothing")
CALL = "/calls/call-of-north"
ATTEMPT = "/attempts/attempt-of-north"
VERSIONS = "before={}&version={}".format(*(one.version for one in personas_of("north")))

API: dict[str, Knock] = {
    "POST /login": NOTHING,
    "POST /logout": NOTHING,
    "GET /me": OWN,
    "GET /users": SHOWN,
    "POST /users": Knock(
        "own", body={"email": "TENANT@example.org", "password": "long enough it is"}
    ),
    "PATCH /users/{email}": Knock("hidden", f"/users/{ITS}@example.org", body={"disabled": True}),
    "GET /tokens": SHOWN,
    "POST /tokens": Knock("own", body={"name": "new"}),
    "DELETE /tokens/{id}": Knock("hidden", "/tokens/{token}"),
    "GET /audit": SHOWN,
    "GET /figures": OWN,
    "GET /summary": Knock("own", "/summary?numbers=clear"),
    "GET /sessions": Knock("own", "/sessions?numbers=clear"),
    "GET /information": Knock("own", "/information?numbers=clear", shows=True),
    "GET /calls": Knock("own", "/calls?numbers=clear", shows=True),
    "GET /calls/{id}": Knock("hidden", CALL, shows=True),
    "GET /calls/{id}/trace": Knock("hidden", f"{CALL}/trace", shows=True),
    "POST /calls/{id}/persona": Knock(
        "hidden",
        f"{CALL}/persona",
        body={"persona": {"personality": "You are Mia."}},
        refused="no_agent",
    ),
    "GET /calendars/{name}.ics": Knock("own", f"/calendars/{Calendar().name}.ics", shows=True),
    "GET /consents": OWN,
    "POST /consents": Knock("own", body={"number": "+13125550160", "source": "a form"}),
    "DELETE /consents": Knock("own", "/consents?number=%2B13125550123"),
    "POST /consents/import": Knock("own", text="phone\n+13125550161\n"),
    "GET /dnc": Knock("own", "/dnc?numbers=clear", shows=True),
    "POST /dnc": Knock("own", body={"number": "+13125550177"}),
    "DELETE /dnc": Knock("hidden", f"/dnc?number={REFUSED}"),
    "POST /dnc/import": Knock("own", text="phone\n+13125550178\n"),
    "POST /test_function": Knock(
        "hidden",
        body={"function": "end_call", "number": NUMBERS["north"]},
        refused="no_such_tool",
    ),
    "GET /personas": Knock("own", "/personas?numbers=clear", shows=True),
    "GET /personas/diff": Knock("hidden", f"/personas/diff?{VERSIONS}", shows=True),
    "GET /retention": NOTHING,
    "POST /privacy/export": Knock("own", body={"number": "+13125550123"}, shows=True),
    "POST /privacy/erase": Knock("own", body={"number": "+13125550123"}, refused="going_on"),
    "GET /deliveries": SHOWN,
    "GET /deliveries/{id}": Knock("hidden", "/deliveries/{delivery}", shows=True),
    "POST /deliveries/{id}/replay": Knock("hidden", "/deliveries/{delivery}/replay", body={}),
    "GET /hooks": SHOWN,
    "POST /hooks": Knock("own", body={"url": "https://example.org/new"}),
    "GET /hooks/notices": SHOWN,
    "POST /hooks/notices/{id}/replay": Knock("hidden", "/hooks/notices/{notice}/replay"),
    "PATCH /hooks/{id}": Knock("hidden", "/hooks/{hook}", body={"note": "changed"}),
    "DELETE /hooks/{id}": Knock("hidden", "/hooks/{hook}"),
    "POST /hooks/{id}/secret": Knock("hidden", "/hooks/{hook}/secret"),
    "POST /hooks/{id}/replay": Knock("hidden", "/hooks/{hook}/replay", body={"since": 0.0}),
    "GET /numbers": Knock("own", "/numbers?numbers=clear"),
    "PUT /numbers/{number}": NOTHING,  # the first tenant's admins manage them: see below
    "DELETE /numbers/{number}": NOTHING,
    "POST /personas/purge": Knock("hidden", body={"number": NUMBERS["north"]}),
    "GET /campaigns": SHOWN,
    "POST /campaigns": Knock("own", body={"name": "New"}),
    "GET /campaigns/{key}/preview": Knock("hidden", f"/campaigns/{ITS}/preview"),
    "GET /campaigns/legacy/list": SHOWN,
    "POST /campaigns/legacy/create": Knock("own", body={"name": "N", "agent_text": "x"}),
    "POST /campaigns/legacy/update": Knock(
        "hidden", body={"module": f"{ITS}.py", "agent_text": "changed"}
    ),
    "PATCH /campaigns/{key}": Knock("hidden", f"/campaigns/{ITS}", body={"agent_text": "new"}),
    "POST /campaigns/{key}/duplicate": Knock(
        "hidden", f"/campaigns/{ITS}/duplicate", body={"name": "Copy"}
    ),
    "POST /campaigns/{key}/archive": Knock("hidden", f"/campaigns/{ITS}/archive", body={}),
    "GET /campaigns/{key}/status": Knock("hidden", f"/campaigns/{ITS}/status", shows=True),
    "POST /campaigns/{key}/run": Knock(
        "hidden", f"/campaigns/{ITS}/run", body={"list": "none.csv"}, refused="no_list"
    ),
    "POST /campaigns/{key}/pause": Knock(
        "hidden", f"/campaigns/{ITS}/pause", body={}, refused="not_possible"
    ),
    "POST /campaigns/{key}/resume": Knock(
        "hidden", f"/campaigns/{ITS}/resume", body={}, refused="not_possible"
    ),
    "POST /campaigns/{key}/stop": Knock(
        "hidden", f"/campaigns/{ITS}/stop", body={}, refused="not_possible"
    ),
    "GET /attempts": SHOWN,
    "GET /attempts/{id}": Knock("hidden", ATTEMPT, shows=True),
    "POST /attempts": Knock(
        "hidden", body={"campaign": ITS, "list": "none.csv", "lead": 1}, refused="no_such_list"
    ),
    "PATCH /attempts/{id}": Knock("hidden", ATTEMPT, body={"note": "changed"}),
    "POST /attempts/{id}/end": Knock("hidden", f"{ATTEMPT}/end", body={}),
    "GET /call/status": OWN,
    "POST /call/start": Knock("hidden", body={"campaign": ITS, "index": 9}, refused="no_lead"),
    "POST /call/stop": Knock("own", body={}),
    "POST /csv/upload": Knock("own", form={"file": "mine.csv"}),
    "GET /csv/list": SHOWN,
    "GET /csv/imports": OWN,
    "GET /csv/preview": Knock("hidden", f"/csv/preview?name={ITS}.csv", shows=True),
    "POST /csv/select": Knock("hidden", body={"name": f"{ITS}.csv"}),
    "GET /csv/export": Knock("hidden", f"/csv/export?name={ITS}.csv", shows=True),
    "GET /csv/bad": Knock("hidden", f"/csv/bad?name={ITS}.csv"),
    "DELETE /csv/{name}": Knock("hidden", f"/csv/{ITS}.csv"),
}

SITE: dict[str, Knock] = {
    "GET /login": NOTHING,
    "POST /login": NOTHING,
    "POST /logout": NOTHING,
    "POST /language": NOTHING,
    "GET /": SHOWN,
    "GET /calls": Knock("own", "/calls?numbers=clear", shows=True),
    "GET /calls/{id}": Knock("hidden", f"{CALL}?numbers=clear", shows=True),
    "GET /numbers": Knock("own", "/numbers?numbers=clear", shows=True),
    "GET /numbers/diff": Knock("hidden", f"/numbers/diff?{VERSIONS}", shows=True),
    "POST /numbers/purge": Knock("hidden", body={"number": NUMBERS["north"]}),
    "GET /who": Knock("hidden", f"/who?number={NUMBER}"),
    "GET /campaigns": SHOWN,
    "POST /campaigns": Knock("own", body={"name": "New page"}),
    "POST /campaigns/import": Knock("own", form={"file": "filed.yaml"}, text="name: Filed"),
    "GET /campaigns/{key}": Knock("hidden", f"/campaigns/{ITS}"),
    "POST /campaigns/{key}/change": Knock(
        "hidden", f"/campaigns/{ITS}/change", body={"name": "X"}, refused="problem"
    ),
    "GET /campaigns/{key}/launch": Knock("hidden", f"/campaigns/{ITS}/launch"),
    "POST /campaigns/{key}/duplicate": Knock(
        "hidden", f"/campaigns/{ITS}/duplicate", body={"name": "Copied"}
    ),
    "POST /campaigns/{key}/archive": Knock(
        "hidden", f"/campaigns/{ITS}/archive", body={"archived": "true"}
    ),
    "POST /campaigns/{key}/run": Knock(
        "hidden", f"/campaigns/{ITS}/run", body={"wish": "pause"}, refused="not_possible"
    ),
    "GET /dialer": Knock("hidden", f"/dialer?campaign={ITS}", shows=True),
    "POST /dialer/call": Knock(
        "hidden",
        body={"campaign": ITS, "list": "none.csv", "lead": "1", "sure": "yes"},
        refused="no_such_list",
    ),
    "POST /dialer/stop": Knock("own", body={"campaign": ITS}, refused="not_possible"),
    "POST /dialer/end": Knock("hidden", body={"attempt_id": "attempt-of-north"}),
    "GET /attempts/{id}": Knock("hidden", ATTEMPT, shows=True),
    "POST /attempts/{id}": Knock("hidden", ATTEMPT, body={"note": "changed"}),
    "GET /leads": SHOWN,
    "POST /leads": Knock("own", form={"file": "page.csv"}),
    "GET /leads/{name}": Knock("hidden", f"/leads/{ITS}.csv"),
    "POST /leads/{name}/select": Knock("hidden", f"/leads/{ITS}.csv/select", body={"a": "b"}),
    "POST /leads/{name}/delete": Knock(
        "hidden", f"/leads/{ITS}-2.csv/delete", body={"sure": "yes"}
    ),
    "GET /dnc": Knock("own", "/dnc?numbers=clear", shows=True),
    "POST /dnc": Knock("own", body={"number": "+13125550179"}),
    "POST /dnc/remove": Knock("hidden", body={"number": "+13125550145"}),
    "POST /dnc/import": Knock("own", form={"file": "page.csv"}),
    "GET /webhooks": SHOWN,
    "GET /webhooks/{id}": Knock("hidden", "/webhooks/{delivery}", shows=True),
    "POST /webhooks/{id}": Knock("hidden", "/webhooks/{delivery}", body={"redrive": "no"}),
    "GET /hooks": SHOWN,
    "POST /hooks": Knock("own", body={"url": "https://example.org/page", "wants call.ended": "on"}),
    "POST /hooks/change": Knock(
        "hidden", body={"id": "ID_OF_HOOK", "note": "changed", "wants call.ended": "on"}
    ),
    "POST /hooks/secret": Knock("hidden", body={"id": "ID_OF_HOOK"}),
    "POST /hooks/again": Knock("hidden", body={"id": "ID_OF_HOOK", "hours": "1"}),
    "POST /hooks/remove": Knock("hidden", body={"id": "ID_OF_HOOK"}, refused="no_such_hook"),
    "GET /system": NOTHING,
    "GET /docs": NOTHING,
    "GET /settings": SHOWN,
    "POST /settings/users": Knock(
        "own", body={"email": "page-TENANT@example.org", "password": "long enough it is"}
    ),
    "POST /settings/users/change": Knock(
        "hidden", body={"email": f"{ITS}@example.org", "state": "off"}
    ),
    "POST /settings/tokens": Knock("own", body={"name": "of a page"}),
    "POST /settings/tokens/revoke": Knock("hidden", body={"id": "ID_OF_TOKEN"}),
    "POST /settings/numbers": NOTHING,  # as PUT /numbers/{number}
}


def named(rows: tuple[Endpoint, ...] | tuple[Page, ...]) -> dict[str, str]:
    return {f"{one.method} {one.path}": one.path for one in rows}


def test_every_route_and_page_says_whose_things_are_behind_it() -> None:
    assert set(API) == set(named(ENDPOINTS))
    assert set(SITE) == set(named(PAGES))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as rig:
        for tenant in ("north", "south", "default"):
            await furnish(rig, tenant)
        yield rig


async def knocked(
    rig: Rig, door: Door, tenant: str, ids: Mapping[str, str] = MappingProxyType({})
) -> httpx.Response:
    base, name, knock = door
    method, path = name.split(" ")
    url = base + (knock.path or path).format(**ids)
    assert not re.search(r"\{\w+\}", url), "say what the path is about"
    headers = await rig.token("admin", tenant)
    told: dict[str, Any] = {}
    if knock.form:
        content = knock.text.encode() or b"phone\n+13125550111\n"
        told["files"] = {"file": (knock.form["file"], content)}
    elif knock.text:
        headers |= {"content-type": "text/csv"}
        told["content"] = knock.text
    elif knock.body is not None:
        names = {
            "TENANT": tenant,
            "ID_OF_TOKEN": ids.get("token", ""),
            "ID_OF_HOOK": ids.get("hook", ""),
        }
        told["json" if base else "data"] = {
            key: named_in(x, names) for key, x in knock.body.items()
        }
    async with rig.client() as client:
        return await client.request(method, url, headers=headers, **told)


def named_in(value: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    for name, real in names.items():
        value = value.replace(name, real)
    return value


DOORS: list[Door] = [
    (base, name, knock)
    for base, table in (("/api", API), ("", SITE))
    for name, knock in table.items()
    if knock.kind != "nothing"
]


def gentle(door: Door) -> int:
    """Order doors so that what is deleted has been looked at."""
    method, path = door[1].split(" ")
    if path == "/settings/tokens":  # it answers with a page that has the audit
        return 0
    if path == "/hooks/remove":  # as DELETE /hooks/{id}, which it finds done
        return 4
    return {"GET": 0, "DELETE": 3}.get(method, 2 if path.endswith("/archive") else 1)


async def test_nobody_sees_or_changes_what_is_another_tenants(rig: Rig) -> None:
    ids, before = await ids_of(rig, "north"), await rows_of(rig, "north")
    for tenant in ("south", "default"):
        for door in sorted(DOORS, key=gentle):  # else an audit has what they typed themselves
            answer = await knocked(rig, door, tenant, ids)
            name, knock = door[1:]

            text = answer.text  # a page repeats its own address
            for own in (answer.request.url.raw_path.decode(), answer.request.url.path):
                text = text.replace(own, "")
            assert ITS not in text, name
            if name != "GET /numbers":  # the first tenant's admins manage those of all
                assert NUMBERS["north"] not in answer.text, name
            assert (answer.status_code == 404) is (knock.kind == "hidden"), (name, answer.text)
            assert answer.status_code < 500, (name, answer.text)
            if not name.startswith("GET"):
                assert await rows_of(rig, "north") == before, name


async def test_whose_it_is_gets_it(rig: Rig) -> None:
    ids = await ids_of(rig, "north")
    for door in sorted(DOORS, key=gentle):
        its = await knocked(rig, door, "north", ids)
        name, knock = door[1:]

        refused = bool(knock.refused) and knock.refused in its.text
        assert its.status_code < 400 or refused, (name, its.text)
        assert not knock.shows or ITS in its.text, name


async def test_only_the_first_tenants_admins_say_whose_a_number_is(rig: Rig) -> None:
    path = f"/api/numbers/{NUMBER}"
    async with rig.client() as client:
        south = await rig.token("admin", "south")
        taken = await client.put(path, json={"tenant": "south"}, headers=south)
        freed = await client.delete(path, headers=south)
        seen = (await client.get("/api/numbers", headers=south)).json()["items"]
        first = await rig.token("admin")
        bad = await client.put(path, json={"tenant": "no good"}, headers=first)
        given = await client.put(path, json={"tenant": "south"}, headers=first)
        every = (await client.get("/api/numbers?numbers=clear", headers=first)).json()["items"]
        back = await client.delete(path, headers=first)
        again = await client.delete(path, headers=first)

    assert [taken.status_code, freed.status_code] == [403, 403]
    assert [one["tenant"] for one in seen] == ["south"]
    assert bad.status_code == 422
    assert given.json() == {"number": "[…20]", "tenant": "south"}
    assert {one["number"]: one["tenant"] for one in every} == {
        NUMBERS["north"]: "south",
        NUMBERS["south"]: "south",
        NUMBERS["default"]: "default",
    }
    assert [back.status_code, again.status_code] == [204, 404]


async def test_a_refused_delivery_is_the_first_tenants_to_see(rig: Rig) -> None:
    rig.services.journal.note(Delivered(time.time(), 401, "refused", "bad_signature"))
    assert await rig.services.journal.write()

    assert "bad_signature" in (await knocked(rig, ("", "GET /webhooks", SHOWN), "default")).text
    assert "bad_signature" not in (await knocked(rig, ("", "GET /webhooks", SHOWN), "north")).text


async def test_purging_all_forgets_ones_own_numbers_alone(rig: Rig) -> None:
    async with rig.client() as client:
        body = {"all": True, "live": True}
        for tenant in ("north", "default"):
            headers = await rig.token("operator", tenant)
            answer = await client.post("/api/personas/purge", json=body, headers=headers)
            assert answer.json()["purged"] == "all"
            assert answer.status_code == 200
