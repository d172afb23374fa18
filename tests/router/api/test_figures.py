"""After a mixed run, Overview, `/api/summary` and `/metrics` tell the same, without a number."""

import re
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from personas.contract import ATTRIBUTE_FIRST_WORD
from personas.reports import CallReport, Closed, Event, Fact, Latency, Opened, Problem, numbered
from personas.tokens import call_token
from router.demo.deliveries import body, caller_attributes
from router.events import sign
from router.metrics import RING_BUCKETS, STAGE_BUCKETS
from router.records.archive import CallFilter, CallRecord
from router.records.figures import Figures
from tests.router.api.rig import Rig, open_rig, operator_headers
from tests.samples import KEY, SECRET

FILED, UNKNOWN = "+13125550100", "+13125550147"
CALLER = "+493090182012"
RINGS_S = (0.4, 0.7, 1.1, 5.0)
BY_THE_WAY = ("recoveries", "journal", "store")  # what happens while calls come in
A_NUMBER = re.compile(r"\d{7}")
Samples = Mapping[tuple[str, str], float]  # by name and the value of the only label


@dataclass
class Line:
    """Calls that come to a router, and what their agents tell of them."""

    rig: Rig
    http: httpx.AsyncClient
    begun: dict[str, float] = field(default_factory=dict)  # Unix seconds by room

    async def deliver(self, content: bytes, authorization: str | None = None) -> int:
        token = authorization or sign(content, time.time(), KEY, SECRET)
        headers = {"Authorization": token}
        answer = await self.http.post("/livekit-webhook", content=content, headers=headers)
        return answer.status_code

    async def ring(self, room: str, number: str) -> CallRecord:
        """Have a caller join, and LiveKit tell it twice; return the call's record."""
        attributes = caller_attributes(number=number, caller=CALLER, call_id=f"SCL_{room}")
        content = body(room=room, room_sid=f"RM_{room}", attributes=attributes)
        assert [await self.deliver(content) for _ in range(2)] == [200, 200]
        await self.rig.services.store.flush()
        page = await self.rig.services.calls.page(CallFilter(tenant="default"))
        return next(call for call in page.rows if call.room == room)

    async def agent(self, room: str, event: str, **attributes: str) -> None:
        content = body(event, room=room, room_sid=f"RM_{room}", attributes=attributes, kind="AGENT")
        assert await self.deliver(content) == 200

    async def report(self, call: CallRecord, *events: Event) -> None:
        """Report, twice."""
        told = [
            numbered(one, seq=seq, attempt=1, at=time.time()) for seq, one in enumerate(events, 1)
        ]
        content = CallReport(call_id=call.call_id, events=tuple(told)).model_dump_json()
        bearer = call_token(call.call_id, SECRET.decode(), time.time())
        for _ in range(2):
            headers = {"Authorization": f"Bearer {bearer}"}
            answer = await self.http.post("/api/reports", content=content, headers=headers)
            assert answer.status_code == 200

    async def hold(self, room: str, number: str, rang_s: float) -> None:
        """Have a whole call."""
        call = await self.ring(room, number)
        await self.agent(room, "participant_joined")
        await self.report(
            call,
            Opened(room=room, answered_at=call.started_at + rang_s),
            Fact(id="f1", category="interest", information=f"call me at {CALLER}"),
            Latency(total_ms=900.0, llm_ms=400.0, tts_ms=200.0),
            Problem(what=f"no voice for {CALLER}", code="field_ignored"),
            Closed(reason="the caller hung up", disposition="answered", duration_s=3.0, facts=1),
        )
        spoke_at = f"{time.time() + 0.2:.3f}"
        await self.agent(room, "participant_left", **{ATTRIBUTE_FIRST_WORD: spoke_at})

    async def mixed_run(self, name: str) -> None:
        """Everything that is counted of calls, in small numbers."""
        for number, rang_s in enumerate(RINGS_S):
            await self.hold(f"{name}-{number}", FILED if number % 2 else UNKNOWN, rang_s)
        await self.ring(f"{name}-rings", FILED)
        await self.ring(f"{name}-gone", UNKNOWN)
        gone = body("room_finished", room=f"{name}-gone", room_sid=f"RM_{name}-gone")
        assert await self.deliver(gone) == 200
        assert await self.deliver(gone, "Bearer forged") == 401
        await self.rig.services.calls.close_finished()
        await self.rig.services.do_not_call.add(CALLER, source="call")
        await self.rig.services.journal.write()
        await self.rig.services.store.flush()

    async def samples(self) -> Samples:
        page = (await self.http.get("/metrics")).text
        return {
            (sample.name.removeprefix("persona_router_"), ",".join(sample.labels.values())): (
                sample.value
            )
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }


def by_label(samples: Samples, name: str) -> dict[str, float]:
    return {label: value for (of, label), value in samples.items() if of == name and value}


def bucket_of(
    samples: Samples, share: float, name: str, bounds: tuple[float, ...]
) -> tuple[float, float]:
    """Return the bounds of the bucket in which *share* of the times is reached."""
    counts = [samples[f"{name}_bucket", f"{bound}"] for bound in bounds]
    number = bisect_left(counts, share * samples[f"{name}_count", ""])
    return (0.0, *bounds)[number], bounds[number]


async def seen(line: Line) -> tuple[Figures, Mapping[str, float], Samples]:
    services = line.rig.services
    figures = await services.figures.of("default")
    by_hour = (await line.http.get("/api/figures", headers=operator_headers())).json()["hours"]
    assert [(hour["at"] % 3600, hour["calls"]) for hour in by_hour] == [
        (0, point.calls) for point in figures.hours
    ]
    answer = await line.http.get("/api/summary", headers=operator_headers())
    assert answer.status_code == 200
    return figures, answer.json(), await line.samples()


async def test_the_dashboards_figures_equal_the_metrics(tmp_path: Path) -> None:
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / f"{FILED}.yaml").write_text("persona_name: Mia\npersonality: You are brief.\n")
    settings = {"persona_dir": folder, "public_url": "http://127.0.0.1:8080"}
    async with open_rig(tmp_path / "state", **settings) as rig, rig.client() as http:
        line = Line(rig, http)
        await line.mixed_run("monday")
        figures, summary, samples = await seen(line)
        await line.mixed_run("tuesday")
        later = await line.samples()

    assert by_label(samples, "calls_total") == dict(figures.by_origin) == {"file": 3, "house": 3}
    assert sum(by_label(samples, "calls_total").values()) == figures.calls == summary["calls"]
    ended = {how: count for how, count in figures.by_disposition if how}
    assert by_label(samples, "calls_closed_total") == ended == {"answered": 4, "no_answer": 1}
    assert summary["active"] == figures.calls - sum(ended.values()) == 1
    assert samples["report_events_total", "fact"] == summary["facts"] == len(RINGS_S)
    assert samples["call_problems_total", "field_ignored"] == figures.with_problems
    assert samples["ring_seconds_count", ""] == len(RINGS_S)
    for share, ring_ms, answer_ms in (
        (0.5, figures.ring_p50_ms, figures.answer_p50_ms),
        (0.95, figures.ring_p95_ms, figures.answer_p95_ms),
    ):
        assert ring_ms is not None
        assert answer_ms is not None
        low, high = bucket_of(samples, share, "ring_seconds", RING_BUCKETS)
        assert low < ring_ms / 1000 <= high
        low, high = bucket_of(samples, share, "answer_seconds", STAGE_BUCKETS)
        assert low <= answer_ms / 1000 <= high  # it is rounded down, to three digits
    assert samples["deliveries_total", "dispatched"] == samples["answer_seconds_count", ""] == 6
    for stage in ("verify", "queue", "claim", "persona", "dispatch", "webhook"):
        assert samples["stage_seconds_count", stage] >= 6
    assert samples["stage_seconds_count", "agent_joined"] == len(RINGS_S)
    assert samples["stage_seconds_count", "first_word"] == len(RINGS_S)
    assert samples["opt_outs_total", "stored"] == 1
    assert samples["store_seconds_count", "write"] > 0
    assert samples["report_seconds_count", ""] == 2 * len(RINGS_S)

    of_calls = {name for name, _ in later if not name.startswith(BY_THE_WAY)}
    assert {one for one in later if one[0] in of_calls} <= set(samples)  # calls are no more series
    for name, label in later:
        assert name == "build_info" or not A_NUMBER.search(label)
        assert "day" not in label
