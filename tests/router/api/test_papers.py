"""Calls and totals as PDF: whole, masked, in two languages, whatever callers say."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from personas.reports import Turn
from router.papers import MAX_TURNS, call_paper
from tests.router.api.rig import Rig, open_rig
from tests.router.api.test_calls import ENDED, FACT, told
from tests.router.dashboard.test_hostile import PAYLOADS

CALL = {
    "call_id": "c1",
    "started_at": 1.0,
    "ended_at": None,
    "disposition": None,
    "caller": None,
    "dialed_number": "[…20]",
    "persona_name": "Mia",
    "persona_origin": "api",
    "duration_s": None,
    "ring_ms": 12.0,
    "reason": None,
}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as rig:
        said = Turn(by="caller", text="<b>I am on +13125550123 & 日本")
        await told(rig, "c1", said, FACT, ENDED, at=time.time() - 60)
        yield rig


async def test_a_call_and_the_summary_are_papers_too(rig: Rig) -> None:
    async with rig.client() as client:
        headers = await rig.token("viewer")
        papers = [
            await client.get(path, headers=headers)
            for path in (
                "/api/calls/c1?format=pdf",
                "/api/calls/c1?format=pdf&language=de",
                "/api/summary?format=pdf",
            )
        ]
        clear = await client.get("/api/calls/c1?format=pdf&numbers=clear", headers=headers)
        north = await rig.token("viewer", "north")
        hidden = await client.get("/api/calls/c1?format=pdf", headers=north)

    for paper in papers:
        assert paper.headers["content-type"] == "application/pdf"
        assert paper.content.startswith(b"%PDF-")
        assert "filename=" in paper.headers["content-disposition"]
        assert b"3125550123" not in paper.content
    assert papers[0].content != papers[1].content
    assert [clear.status_code, hidden.status_code] == [403, 404]


async def test_papers_are_limited(rig: Rig) -> None:
    async with rig.client() as client:
        headers = await rig.token("viewer")
        answers = [await client.get("/api/summary?format=pdf", headers=headers) for _ in range(21)]

    assert [one.status_code for one in answers[-2:]] == [200, 429]


def test_whatever_is_said_is_text_on_paper() -> None:
    turns = [{"by": "caller", "at": 2.0, "text": text} for text in PAYLOADS]
    facts = [{"category": text, "information": text} for text in PAYLOADS[:30]]
    paper = call_paper({**CALL, "caller": PAYLOADS[0]}, [], facts, turns, at=3.0, language="en")

    assert paper.startswith(b"%PDF-")
    assert b"/JavaScript" not in paper
    assert b"/URI" not in paper


def test_a_very_long_call_ends_somewhere() -> None:
    turns = [{"by": "agent", "at": 2.0, "text": "x"}] * (MAX_TURNS + 1)

    assert call_paper(CALL, [], [], turns, at=3.0, language="de").startswith(b"%PDF-")
