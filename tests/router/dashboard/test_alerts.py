"""What the watch raised, on the first page, with what to do."""

import time
from pathlib import Path

import sqlalchemy as sa

from router.dashboard.alerts import MEANINGS
from router.metrics import Metrics
from router.records.hooks import Recipient
from router.records.journal import ALERTS, WATCH, Delivered
from router.routing import Event
from tests.router.api.rig import Rig, open_rig
from tests.router.dashboard.rig import signed_in

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
DAY_S = 86_400.0


async def did(rig: Rig, action: str, at: float) -> None:
    """Have the journal tell of something that the watch did."""
    event = Event("", f"{WATCH}{action}", 0.0, "call-1", "RM_1", None)
    rig.services.journal.note(Delivered(at, 0, action, "no agent has come", event=event))
    assert await rig.services.journal.write()


async def test_what_the_watch_raised_today_is_on_the_first_page_with_a_fix(tmp_path: Path) -> None:
    now = time.time()
    async with open_rig(tmp_path) as rig, rig.client() as client:
        await signed_in(rig, client, "viewer")
        before = (await client.get("/")).text
        for action, at in (("given_up", now), ("given_up", now - 9), ("adopted", now - DAY_S - 9)):
            await did(rig, action, at)
        await did(rig, "confirmed", now)  # no alert
        after = (await client.get("/")).text

        async with rig.client() as other:
            header = await rig.token("viewer", tenant="elsewhere")
            elsewhere = (await other.get("/", headers=header)).text

    assert MEANINGS["given_up"].fix not in before
    assert "<b>0</b><span>alerts in 24 h</span>" in before
    assert "<b>2</b><span>alerts in 24 h</span>" in after
    assert f"{MEANINGS['given_up'].said}; 2 times" in after
    assert MEANINGS["given_up"].fix in after
    assert MEANINGS["adopted"].fix not in after
    assert MEANINGS["given_up"].said not in elsewhere


async def test_an_alert_is_told_to_whoever_watches_and_what_is_none_is_not(rig: Rig) -> None:
    for action in ("given_up", "confirmed"):
        await did(rig, action, time.time())
    async with rig.client() as client:
        header = await rig.token("viewer")
        answer = await client.get("/events?topics=alerts&follow=false&after=0-1", headers=header)

    assert answer.text.count("event: alert\n") == 1
    assert '"action":"given_up"' in answer.text


async def test_a_hook_that_was_switched_off_because_it_is_gone_is_an_alert(rig: Rig) -> None:
    hooks = rig.services.hooks
    for note in ("CRM", "chat"):
        await hooks.add("http://127.0.0.1:9/", ["call.ended"], note=note)
    crm, chat = await hooks.all("default")
    await hooks.settle(
        Recipient(hook_id=crm.id, tenant="default", url="", secrets=()), [], gone=True
    )
    await hooks.change(chat.id, "default", disabled=True)
    async with rig.client() as client:
        await signed_in(rig, client, "viewer")
        page = (await client.get("/")).text

    assert "<b>1</b><span>alerts in 24 h</span>" in page
    assert "CRM is told nothing any more: it has said that it is gone" in page
    assert "chat is told" not in page


async def test_the_question_is_answered_by_an_index_of_few_rows(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        plan = await rig.services.store.read(
            lambda connection: connection.execute(
                sa.text(
                    "EXPLAIN QUERY PLAN SELECT event, count(*) FROM journal "
                    "WHERE status = 0 AND tenant = 'default' AND received_at >= 1 GROUP BY event"
                )
            ).all()
        )

    assert any("journal_by_watch" in str(row) for row in plan)


def test_every_alert_is_one_of_the_watch_and_is_in_the_readme() -> None:
    metrics = Metrics()

    assert set(MEANINGS) == ALERTS <= set(metrics.recoveries)
    for action in MEANINGS:
        assert f"| `{action}` |" in README
