"""What the pages show, to whom, in which language."""

import gzip
import hashlib
import re
import time

import pytest

from personas.reports import Turn
from router.dashboard.assets import FOLDER, assets
from router.dashboard.pages import safe_path
from router.dashboard.table import PAGES
from router.principals import ROLES, Role
from router.routing import Egress
from tests.router.api.rig import PASSWORD, Rig
from tests.router.dashboard.rig import (
    CALLER,
    DIALED,
    ENDED,
    conversation,
    csrf_of,
    rung,
    signed_in,
    told,
)

CALL_ID = "0123456789abcdef0123456789abcdef"  # ten digits in a row: no phone number
OTHER_ID = "b" * 32
READ = [page.path for page in PAGES if page.method == "GET" and page.needs != "nothing"]


async def test_a_stranger_is_sent_to_the_form_and_then_to_where_they_wanted_to(rig: Rig) -> None:
    await rig.user("ann@example.org", "admin")
    async with rig.client() as client:
        for path in READ:
            wanted = re.sub(r"{\w+}", "x", path) + "?limit=5"
            sent = await client.get(wanted)
            page = await client.get(sent.headers["location"])

            assert sent.status_code == 303
            assert sent.headers["location"].startswith("/login?next=%2F")
            assert f'name="next" value="{wanted}"' in page.text
        form = {"email": "ann@example.org", "password": PASSWORD, "next": wanted}
        done = await client.post("/login", data=form)

    assert (done.status_code, done.headers["location"]) == (303, wanted)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_opens_the_pages_that_are_for_it(rig: Rig, role: Role) -> None:
    ranks = ("nothing", *ROLES)
    ours = [one for one in PAGES if one.needs != "nothing"]
    async with rig.client() as client:
        await signed_in(rig, client, role)
        for page in sorted(ours, key=lambda one: one.path == "/logout"):  # it ends the session
            path = re.sub(r"{\w+}", "x", page.path)
            answer = await client.request(page.method, path, data={"a": "b"})

            enough = ranks.index(page.needs) <= ranks.index(role)
            refused_role = answer.status_code == 403 and "role_too_small" in answer.text
            assert refused_role is not enough, path
            assert answer.status_code < 500, path


async def test_signing_out_needs_the_token_of_the_page_and_ends_the_session(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        csrf = csrf_of((await client.get("/")).text)
        forged = await client.post("/logout", data={"csrf": "guessed"})
        still = await client.get("/")
        done = await client.post("/logout", data={"csrf": csrf})
        after = await client.get("/")

    assert forged.status_code == 403
    assert still.status_code == 200
    assert done.headers["location"] == "/login"
    assert after.headers["location"] == "/login"


async def test_a_form_from_another_page_signs_nobody_in(rig: Rig) -> None:
    await rig.user("ann@example.org", "viewer")
    form = {"email": "ann@example.org", "password": PASSWORD}
    async with rig.client() as client:
        answer = await client.post("/login", data=form, headers={"origin": "https://evil.test"})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_a_wrong_password_is_said_so_and_the_sixth_try_has_to_wait(rig: Rig) -> None:
    await rig.user("ann@example.org", "viewer")
    async with rig.client() as client:
        answers = [
            await client.post("/login", data={"email": "ann@example.org", "password": "guess"})
            for _ in range(6)
        ]

    assert [one.status_code for one in answers] == [401] * 5 + [429]
    assert "Address or password is wrong." in answers[0].text
    assert 'value="ann@example.org"' in answers[0].text
    assert "guess" not in answers[0].text


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/calls?open=true", "/calls?open=true"),
        ("//evil.test/", "/"),
        ("https://evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("/\n/evil.test", "/"),
        ("calls", "/"),
        ("", "/"),
    ],
)
def test_after_signing_in_nobody_is_sent_elsewhere(wanted: str, goes_to: str) -> None:
    assert safe_path(wanted) == goes_to


async def test_an_empty_router_says_on_every_page_what_to_do_next(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "admin")
        overview, calls, webhooks, settings = [
            (await client.get(path)).text for path in ("/", "/calls", "/webhooks", "/settings")
        ]

    assert "Nobody is calling." in overview
    assert "make demo" in calls
    assert "persona-router trigger" in webhooks
    assert "Make a token" in settings


async def test_a_call_is_shown_with_its_stages_persona_words_and_facts_and_no_number(
    rig: Rig,
) -> None:
    said = Turn(by="caller", text=f"I am on {CALLER}.")
    await told(rig, CALL_ID, *conversation(), said, ENDED, at=time.time() - 100)
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        page = (await client.get(f"/calls/{CALL_ID}")).text
        listed = (await client.get("/calls")).text
        first = (await client.get("/")).text

    for word in ("Lakeside Dental", "toothache", "urgent", "the persona API answered", "answered"):
        assert word in page
    assert "sha256:a1a1a1a1a1a1" in page
    assert f'href="/calls/{CALL_ID}"' in listed
    assert f'href="/calls/{CALL_ID}"' in first
    for text in (page, listed, first):
        assert CALLER[2:] not in text
        assert DIALED[2:] not in text


async def test_a_call_says_what_became_of_its_recording_and_links_it(rig: Rig) -> None:
    await told(rig, CALL_ID, ENDED, at=time.time() - 100)
    rows = rig.services.recorder.rows
    link = f"https://calls.example.org/{CALL_ID}.ogg"
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        none = (await client.get(f"/calls/{CALL_ID}")).text
        await rows.ask(CALL_ID, "default", "x.ogg")
        await rows.began(CALL_ID, "EG_1")
        pages = [(await client.get(f"/calls/{CALL_ID}")).text]
        for state, location in (("ACTIVE", "javascript:alert(1)"), ("COMPLETE", link)):
            rows.heard(Egress("EG_1", f"EGRESS_{state}", location, 1.0, 2.0, ""))
            await rig.services.store.flush()
            pages.append((await client.get(f"/calls/{CALL_ID}")).text)

    assert "<dt>Recording</dt>" not in none
    assert all("<dt>Recording</dt>" in page for page in pages)
    assert "x.ogg" in pages[0]
    assert 'href="javascript' not in pages[1]
    assert f'href="{link}"' in pages[2]


async def test_an_operator_may_see_numbers_and_that_is_audited(rig: Rig) -> None:
    await told(rig, CALL_ID, ENDED, at=time.time() - 100)
    path = f"/calls/{CALL_ID}?numbers=clear"
    async with rig.client() as viewer, rig.client() as operator:
        await signed_in(rig, viewer, "viewer")
        await signed_in(rig, operator, "operator")
        refused, shown = await viewer.get(path), await operator.get(path)
        offered = await viewer.get(f"/calls/{CALL_ID}")

    assert refused.status_code == 403
    assert CALLER in shown.text
    assert "numbers=clear" not in offered.text
    deeds = await rig.services.access.accounts.deeds("default")
    assert [(deed.did, deed.subject) for deed in deeds] == [
        ("numbers.revealed", f"/calls/{CALL_ID}")
    ]


async def test_a_filtered_list_links_its_json_and_csv_twins_which_have_the_same_rows(
    rig: Rig,
) -> None:
    await told(rig, "c1", ENDED, at=time.time() - 100)
    await told(rig, "c2", at=time.time() - 50)
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        page = (await client.get("/calls?open=true&caller=&within=hour")).text
        twin = page.split('href="/api/calls?')[1].split('"')[0].replace("&amp;", "&")
        rows = (await client.get(f"/api/calls?{twin}")).json()["items"]
        bad = await client.get("/calls?cursor=xyz")

    assert 'href="/calls/c2"' in page
    assert 'href="/calls/c1"' not in page
    assert [row["call_id"] for row in rows] == ["c2"]
    assert bad.status_code == 422


async def test_the_box_says_which_persona_would_answer_a_number(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        empty = (await client.get("/who")).text
        page = (await client.get("/who", params={"number": DIALED, "trunk": ""})).text

    assert "nobody is called" in empty
    assert DIALED in page
    assert "house" in page


async def test_the_journal_is_shown_and_links_the_call_whose_stages_are_measured(
    rig: Rig,
) -> None:
    await told(rig, OTHER_ID, ENDED, at=time.time() - 100)
    await rung(rig, OTHER_ID)
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        journal = (await client.get("/webhooks")).text
        page = (await client.get(f"/calls/{OTHER_ID}")).text
        overview = (await client.get("/")).text

    assert overview.count("<b>81 ms</b><span>webhook to dispatch") == 2
    assert f'href="/calls/{OTHER_ID}"' in journal
    assert "dispatched" in journal
    assert "slowest" in page
    assert CALLER[2:] not in journal


async def test_a_page_that_follows_the_stream_says_from_where(rig: Rig) -> None:
    paths = {page.path.replace("{key}", "default") for page in PAGES if page.topics}
    followed = {}
    async with rig.client() as client:
        await signed_in(rig, client, "admin")
        for path in sorted(one for one in paths if "{" not in one):
            page = (await client.get(path)).text
            found = re.search(r'data-topics="([a-z,]+)" data-after="([^"]*)"', page)
            assert found, path
            asked = {"topics": found[1], "after": found[2], "follow": "false"}
            followed[path] = (await client.get("/events", params=asked)).status_code

    assert set(followed.values()) == {200}
    assert {"/", "/dialer", "/campaigns/default", "/hooks"} <= set(followed)


async def test_older_pages_follow(rig: Rig) -> None:
    for number in range(3):
        await told(rig, f"c{number}", ENDED, at=time.time() - 900 + number)
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        page = (await client.get("/calls?limit=2")).text
        older = page.split('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&")
        last = (await client.get(older)).text

    assert 'href="/calls/c2"' in page
    assert 'href="/calls/c0"' not in page
    assert 'href="/calls/c0"' in last
    assert 'rel="next"' not in last


async def test_another_tenants_call_is_not_there(rig: Rig) -> None:
    await told(rig, "c1", ENDED, at=time.time() - 100)
    async with rig.client() as client:
        headers = await rig.token("admin", "north")
        assert (await client.get("/calls/c1", headers=headers)).status_code == 404
        assert "/calls/c1" not in (await client.get("/", headers=headers)).text


@pytest.mark.parametrize(
    ("wish", "title"),
    [("de-AT,en;q=0.5", "Anrufe"), ("en", "Calls"), ("fr", "Calls"), ("", "Calls")],
)
async def test_pages_come_in_the_language_that_the_browser_asks_for(
    rig: Rig, wish: str, title: str
) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        page = (await client.get("/calls", headers={"accept-language": wish})).text

    assert f"<title>{title} " in page


async def test_the_chosen_language_stays(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        csrf = csrf_of((await client.get("/")).text)
        form = {"language": "de", "next": "/calls", "csrf": csrf}
        sent = await client.post("/language", data=form)
        page = (await client.get(sent.headers["location"])).text

    assert sent.headers["location"] == "/calls"
    assert '<html lang="de">' in page


async def test_style_and_scripts_are_kept_and_change_their_address_with_their_content(
    rig: Rig,
) -> None:
    async with rig.client() as client:
        page = (await client.get("/login")).text
        await signed_in(rig, client, "operator")
        page += (await client.get("/")).text + (await client.get("/leads")).text
        for name, asset in assets().items():
            assert f"/assets/{name}?{asset.mark}" in page
            answer = await client.get(f"/assets/{name}")
            assert "immutable" in answer.headers["cache-control"]
            assert "javascript" in answer.headers["content-type"] or name.endswith(".css")
        assert (await client.get("/assets/../pages.py")).status_code == 404


def test_what_a_first_visit_loads_is_small() -> None:
    loaded = sum(len(gzip.compress(asset.body, 6)) for asset in assets().values())

    assert loaded < 60 * 1024


def test_what_is_vendored_is_what_it_says_it_is() -> None:
    for line in (FOLDER / "VENDORED").read_text().splitlines():
        digest, name, *_ = line.split()
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
