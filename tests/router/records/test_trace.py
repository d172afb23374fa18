"""Where ring time went: stages from what the journal has of a room."""

from collections.abc import Mapping
from typing import Any

import pytest

from personas.contract import Origin
from router.db import Store
from router.demo.deliveries import caller_attributes
from router.records.claims import Claims
from router.records.journal import Delivered, Journal
from router.records.trace import Stage, Trace, trace_of
from router.routing import Event, Participant

T0 = 1_800_000_000.0
STAGES = {"verify": 1.0, "claim": 4.0, "persona": 65.0, "dispatch": 10.0}


def party(kind: str, attributes: Mapping[str, str], joined_at: float, name: str) -> Event:
    who = Participant(f"PA_{kind}_{joined_at}", kind, kind, attributes, joined_at)
    return Event(f"EV_{name}", name, T0, "call-1", "RM_1", who, T0)


def caller(at: float, verdict: str, call_id: str | None, **more: Any) -> Delivered:
    attributes = caller_attributes(number="+13125550142", call_id="SCL_1")
    event = party("SIP", attributes, T0 + 0.010, "participant_joined")
    return Delivered(at, 200, verdict, verdict, "answer", event, call_id=call_id, **more)


def agent(joined_at: float, name: str = "participant_joined", **attributes: str) -> Delivered:
    values = {key.replace("_", ".", 1): value for key, value in attributes.items()}
    event = party("AGENT", values, joined_at, name)
    return Delivered(joined_at + 0.01, 200, "ignored", "an agent", "ignore", event)


async def traced(store: Store, *delivered: Delivered) -> Trace:
    journal = Journal(store, max_rows=100, days=1.0, clock=lambda: T0)
    claims = Claims(store, owner="o", lease_s=6.0, clock=lambda: T0, new_id=lambda: "call-1")
    await claims.take(room="call-1", room_sid="RM_1", sip_call_id="SCL_1")
    for one in delivered:
        journal.note(one)
    await journal.write()
    found = await trace_of(store, "call-1")
    assert found is not None
    return found


def took(trace: Trace) -> dict[str, float | None]:
    return {stage.name: stage.ms for stage in trace.stages}


async def test_each_stage_is_measured_from_the_one_before_and_the_slowest_is_named(
    store: Store,
) -> None:
    origin = Origin(source="api", version="sha256:1", because="asked")
    trace = await traced(
        store,
        caller(T0 + 0.020, "dispatched", "call-1", attempt=1, origin=origin, stages=STAGES),
        agent(T0 + 0.420, persona_call="call-1"),
        agent(
            T0 + 0.420,
            "participant_left",
            persona_call="call-1",
            persona_first_word_at=f"{T0 + 0.640:.3f}",
        ),
    )

    assert took(trace) == {
        "room created": None,
        "caller joined": pytest.approx(10, abs=0.1),
        "webhook": pytest.approx(10, abs=0.1),
        "verified": 1.0,
        "claim": 4.0,
        "persona": 65.0,
        "dispatch": 10.0,
        "agent joined": pytest.approx(320, abs=0.1),
        "first word": pytest.approx(220, abs=0.1),
    }
    assert trace.slowest == "agent joined"
    assert (trace.verdict, trace.source, trace.version) == ("dispatched", "api", "sha256:1")


async def test_what_has_not_happened_yet_is_unknown(store: Store) -> None:
    trace = await traced(store, caller(T0 + 0.02, "dispatched", "call-1", stages=STAGES))

    unknown = [stage.name for stage in trace.stages if stage.at is None]
    assert unknown == ["agent joined", "first word"]
    assert trace.slowest == "persona"


async def test_deliveries_that_failed_before_are_a_stage_of_their_own(store: Store) -> None:
    trace = await traced(
        store,
        caller(T0 + 0.02, "failed", None),
        caller(T0 + 1.02, "held", "call-1"),
        caller(T0 + 3.02, "dispatched", "call-1", stages=STAGES),
    )

    assert trace.deliveries == 3
    assert trace.slowest == "delivered again"
    [again] = [stage for stage in trace.stages if stage.name == "delivered again"]
    assert again == Stage("delivered again", T0 + 3.02, 3000.0, "before it: held")


async def test_an_agent_of_another_call_in_the_room_is_not_ours(store: Store) -> None:
    trace = await traced(
        store,
        agent(T0 - 60.0),
        caller(T0 + 0.02, "dispatched", "call-1", stages=STAGES),
        agent(T0 + 0.5, persona_call="call-2"),
    )

    assert took(trace)["agent joined"] is None


async def test_clocks_that_disagree_are_said_and_never_make_a_stage_negative(store: Store) -> None:
    trace = await traced(
        store,
        caller(T0 - 2.0, "dispatched", "call-1", stages=STAGES),
        agent(T0 + 0.4, persona_call="call-1"),
    )

    [webhook] = [stage for stage in trace.stages if stage.name == "webhook"]
    assert webhook.ms == 0.0
    assert "clocks differ by 2010 ms" in webhook.note


async def test_a_call_whose_deliveries_are_gone_says_so(store: Store) -> None:
    trace = await traced(store)

    assert (trace.state, trace.stages, trace.slowest) == ("claimed", (), None)
    assert "journal has no delivery" in trace.because


async def test_nothing_is_known_of_a_call_that_never_was(store: Store) -> None:
    assert await trace_of(store, "no-such-call") is None


def by_watch(action: str, at: float, because: str, **more: Any) -> Delivered:
    done = caller(at, "dispatched", "call-1", **more)
    assert done.event is not None
    return done._replace(status=0, because=because, event=done.event._replace(name=action))


async def test_an_agent_that_the_watch_sent_is_measured_from_when_it_sent_it(store: Store) -> None:
    trace = await traced(
        store,
        caller(T0 + 0.1, "dispatched", "call-1", attempt=1, stages=STAGES),
        by_watch(
            "watch.dispatched_again",
            T0 + 3.2,
            "no agent has come",
            attempt=2,
            stages={"persona": 0.0, "dispatch": 8.0},
        ),
        agent(T0 + 3.7, persona_call="call-1", persona_attempt="2"),
        by_watch("watch.resumed", T0 + 60.0, "the agent has left the caller", attempt=3),
        agent(T0 + 61.0, persona_call="call-1", persona_attempt="3"),
    )

    times = took(trace)
    assert times["watch: dispatched_again"] == pytest.approx(3100.0)
    assert times["agent joined"] == pytest.approx(492.0)
    assert "watch: resumed" not in times  # the ringing was over by then
    assert trace.slowest == "watch: dispatched_again"
    assert [(one.action, one.attempt) for one in trace.watch] == [
        ("dispatched_again", 2),
        ("resumed", 3),
    ]
    assert trace.deliveries == 1


async def test_an_agent_of_the_first_attempt_that_came_late_is_not_ascribed_to_the_second(
    store: Store,
) -> None:
    trace = await traced(
        store,
        caller(T0 + 0.1, "dispatched", "call-1", attempt=1, stages=STAGES),
        by_watch("watch.dispatched_again", T0 + 3.2, "no agent has come", attempt=2),
        agent(T0 + 3.3, persona_call="call-1", persona_attempt="1"),
    )

    assert "watch: dispatched_again" not in took(trace)
    assert took(trace)["agent joined"] == pytest.approx(3120.0)
