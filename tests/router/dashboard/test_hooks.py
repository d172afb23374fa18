"""The page of outgoing webhooks: admins add, change and remove, see what failed, and send again."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from router.dashboard.hooks import STATES
from tests.fakes_personas import until
from tests.hook_receiver import Receiver
from tests.router.api.rig import Rig, open_rig
from tests.router.dashboard.rig import csrf_of, signed_in

URL = "https://crm.example.org/hooks/0123456789"
NUMBER = "+13125550123"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, hook_private_hosts="127.0.0.1") as rig:
        yield rig


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        await signed_in(rig, client, "admin")
        yield client


async def sent(client: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    csrf = csrf_of((await client.get("/hooks")).text)
    return await client.post(path, data={**form, "csrf": csrf})


async def test_a_hook_is_added_changed_given_another_secret_and_removed(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    empty = (await client.get("/hooks")).text
    ended = {"wants call.ended": "on"}
    added = await sent(client, "/hooks", url=URL, note="CRM", **ended)
    (hook,) = await rig.services.hooks.all("default")
    fewer = {
        "id": hook.id,
        "url": URL,
        "note": "old CRM",
        "state": "off",
        "wants fact.shared": "on",
    }
    changed = await sent(client, "/hooks/change", **fewer)
    (after,) = await rig.services.hooks.all("default")
    other = await sent(client, "/hooks/secret", id=hook.id)
    page = (await client.get("/hooks")).text
    removed = await sent(client, "/hooks/remove", id=hook.id)
    deeds = [one.did for one in await rig.services.access.accounts.deeds("default")]

    assert "Nobody is told of anything yet" in empty
    secrets = [re.search(r"whsec_[\w+/=]+", one.text) for one in (added, other)]
    assert secrets[0]
    assert secrets[1]
    assert secrets[0][0] != secrets[1][0]
    assert (changed.headers["location"], removed.headers["location"]) == ("/hooks", "/hooks")
    assert (hook.events, hook.note, after.events) == (("call.ended",), "CRM", ("fact.shared",))
    assert after.disabled_because == "operator"
    assert URL in page
    assert "whsec_" not in page
    assert await rig.services.hooks.all("default") == []
    assert deeds == ["hook.removed", "hook.secret_rotated", "hook.changed", "hook.added"]


async def test_what_was_not_taken_is_shown_with_its_error_and_sent_again(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    async with Receiver(lambda: 500) as receiver:
        await sent(client, "/hooks", url=receiver.url, **{"wants number.opted_out": "on"})
        (hook,) = await rig.services.hooks.all("default")
        await rig.services.do_not_call.add(NUMBER, source="api")
        await until(lambda: len(receiver.told) == 1)
        await rig.services.notifier.settled()
    page = (await client.get("/hooks")).text
    (notice,) = (await rig.services.hooks.notices("default")).rows
    once = await sent(client, "/hooks/again", notice=str(notice.id))
    (again,) = (await rig.services.hooks.notices("default")).rows
    ranged = await sent(client, "/hooks/again", id=hook.id, hours="1", delivered_too="on")
    deeds = [one.did for one in await rig.services.access.accounts.deeds("default")]
    twins = [await client.get(f"/api/hooks{path}?format=csv") for path in ("", "/notices")]

    assert page.count("status 500") == 2  # of the hook, and of what it was told
    assert "takes nothing" in page
    assert f'value="{notice.id}"' in page
    assert NUMBER not in page
    assert {one.headers["location"] for one in (once, ranged)} == {"/hooks#told"}
    assert (notice.tries, again.tries) == (1, 0)  # and it is due at once
    assert again.due_at < notice.due_at
    assert deeds[:2] == ["notices.replayed", "notice.replayed"]
    assert twins[0].text.startswith("id,url,events,note")
    assert twins[1].text.count("number.opted_out") == 1


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/hooks", {"url": "http://169.254.169.254/", "wants call.ended": "on"}, 422),
        ("/hooks", {"url": URL}, 422),
        ("/hooks/change", {"id": "x", "wants call.ended": "on"}, 404),
        ("/hooks/secret", {"id": "x"}, 404),
        ("/hooks/remove", {}, 404),
        ("/hooks/again", {"notice": "7"}, 404),
        ("/hooks/again", {"id": "x", "hours": "nan"}, 422),
        ("/hooks/again", {"id": "x"}, 404),
    ],
)
async def test_what_cannot_be_done_says_why(
    client: httpx.AsyncClient, path: str, form: dict[str, str], status: int
) -> None:
    answer = await sent(client, path, **form)

    assert answer.status_code == status
    assert "To do" in answer.text


async def test_a_form_without_the_token_of_the_page_changes_nothing(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    answer = await client.post("/hooks", data={"url": URL, "wants call.ended": "on"})

    assert answer.status_code == 403
    assert await rig.services.hooks.all("default") == []


async def test_an_address_in_the_query_of_the_filter_comes_back_as_text(
    client: httpx.AsyncClient,
) -> None:
    odd = quote('"><script>x')
    answers = [await client.get(f"/hooks?state={state}") for state in (*STATES, odd)]

    assert [one.status_code for one in answers] == [200, 200, 200, 422]
    assert "<script>x" not in answers[-1].text
