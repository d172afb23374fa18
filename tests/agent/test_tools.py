"""The tools in a real session without a room; the scripted model uses them by name."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, llm
from livekit.agents.voice.run_result import RunResult

from agent import job
from agent.speech.scripted import ScriptedLLM
from agent.tools import offer_for, tools_for
from personas.contract import CallConfig, Origin, Report
from personas.facts import Facts
from personas.model import Persona
from personas.sources.files import shipped
from tests.agent.fakes import FakeLine, FakeReporter

NOON = datetime(2026, 7, 4, 12, 0, tzinfo=UTC)
HTTP_TOOL = {
    "name": "order_status",
    "description": "Look up an order.",
    "url": "https://shop.test/orders",
    "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
}
TARGETS = [
    {"name": "Front desk", "number": "+13125550111"},
    {"name": "Night porter", "number": "sip:porter@hotel.test"},
]


def brief(*, reports: bool = True, direction: Any = "inbound", **document: Any) -> job.Brief:
    persona = Persona.from_document({"persona_name": "Mira", "personality": "Kind.", **document})
    call = CallConfig(
        call_id="c1",
        room="r",
        direction=direction,
        origin=Origin(source="api", version=persona.version, because="the API answered"),
        report=Report(url="https://router.test/api/reports", token="t") if reports else None,
    )
    metadata = json.dumps({**persona.document, "_call": call.model_dump()})
    read = job.read(
        metadata, "", "", house=shipped("house"), personas_by_id=lambda _: None, dialed=None
    )
    assert read.problems == ()
    return read


class Bench:
    """One session with its tools, and what stands around it."""

    def __init__(self, told: job.Brief, reporter: FakeReporter, line: FakeLine) -> None:
        self.reporter = reporter
        self.line = line
        self.facts = Facts()
        self.agent = Agent(
            instructions="",
            tools=tools_for(
                told,
                reporter,
                line,
                facts=self.facts,
                other_side="+4930901820",
                now=lambda: NOON,
            ),
        )
        script = ScriptedLLM(
            persona_name="Mira", personality=None, closing_message=None, language="en"
        )
        self.session: AgentSession[None] = AgentSession(llm=script, vad=None)

    async def use(self, name: str, **arguments: Any) -> str:
        """Have the model use a tool, and return what it was told."""
        result = await self.say(f"/{name} {json.dumps(arguments)}")
        result.expect.contains_function_call(name=name)
        outputs = [
            event.item
            for event in result.events
            if event.type == "function_call_output"
            and isinstance(event.item, llm.FunctionCallOutput)
        ]
        assert not [output for output in outputs if output.is_error]
        return outputs[-1].output if outputs else ""

    async def say(self, words: str) -> RunResult[None]:
        return await self.session.run(user_input=words)


@asynccontextmanager
async def bench(
    told: job.Brief, *, answers: dict[str, str] | None = None, line: FakeLine | None = None
) -> AsyncIterator[Bench]:
    made = Bench(told, FakeReporter(answers or {}), line or FakeLine())
    async with made.session:
        await made.session.start(made.agent)
        yield made


# ---- facts ---------------------------------------------------------------------------------


async def test_a_fact_is_stored_durably_and_acknowledged() -> None:
    async with bench(brief()) as at:
        answer = await at.use(
            "share_information", information="Budget is 5,000 euros.", category="qualification"
        )

    (fact,) = at.reporter.facts
    assert answer == "Written down."
    assert (fact.category, fact.information) == ("qualification", "Budget is 5,000 euros.")
    assert fact.id
    assert at.facts.count == 1
    assert at.reporter.uses == [("share_information", True)]


async def test_the_scripted_model_writes_down_what_is_told() -> None:
    async with bench(brief()) as at:
        result = await at.say("My email is ruth at example dot org")

    result.expect.next_event().is_function_call(name="share_information")
    result.expect.next_event().is_function_call_output(output="Written down.")
    result.expect.next_event().is_message(role="assistant")
    assert at.reporter.facts[0].category == "contact_details"


async def test_the_same_fact_is_stored_once() -> None:
    async with bench(brief()) as at:
        await at.use("share_information", information="Called Ruth.", category="personal_info")
        again = await at.use(
            "share_information", information="Called  Ruth.", category="personal_info"
        )

    assert again == "That was written down already."
    assert len(at.reporter.facts) == 1


async def test_a_category_that_nobody_knows_loses_no_fact() -> None:
    async with bench(brief(fact_categories=["parking"])) as at:
        await at.use("share_information", information="Two cars.", category="parking")
        await at.use("share_information", information="A dog.", category="pets")

    assert [fact.category for fact in at.reporter.facts] == ["parking", "conversation_flow"]


async def test_facts_of_this_call_are_read_with_the_router_away() -> None:
    async with bench(brief(remember=True)) as at:
        await at.use("share_information", information="Owes 40 euros.", category="debt_info")
        await at.use("share_information", information="Is Ruth.", category="personal_info")
        all_of_them = await at.use("get_shared_information")
        debts = await at.use("get_shared_information", category="debt_info", limit=1)

    assert all_of_them.splitlines()[:2] == [
        "- Is Ruth. (personal_info)",
        "- Owes 40 euros. (debt_info)",
    ]
    assert "cannot be read" in all_of_them
    assert debts.splitlines()[0] == "- Owes 40 euros. (debt_info)"


async def test_earlier_calls_are_asked_for_only_where_the_persona_wants_it() -> None:
    earlier = {"get_shared_information": "- Has a cat. (personal_info)"}
    async with bench(brief(), answers=earlier) as forgetful:
        assert await forgetful.use("get_shared_information") == "Nothing has been written down yet."
    async with bench(brief(remember=True), answers=earlier) as remembering:
        assert await remembering.use("get_shared_information") == "- Has a cat. (personal_info)"

    assert not forgetful.reporter.asked
    assert remembering.reporter.asked == [
        ("get_shared_information", {"category": None, "limit": 10})
    ]


# ---- time, end, transfer -------------------------------------------------------------------


async def test_the_time_is_the_personas_or_the_callers() -> None:
    async with bench(brief()) as at:
        callers = await at.use("get_current_time")
    async with bench(brief(timezone="America/New_York")) as at:
        personas = await at.use("get_current_time")

    assert callers == "It is Saturday, 4 July 2026, 14:00 in the afternoon (Berlin time)."
    assert personas == "It is Saturday, 4 July 2026, 08:00 in the morning (New York time)."


async def test_goodbye_ends_the_call_and_nothing_is_said_after_it() -> None:
    async with bench(brief()) as at:
        result = await at.say("Goodbye")

    result.expect.next_event().is_function_call(name="end_call")
    assert not [event for event in result.events if event.type == "message"]
    assert at.line.ended == [("the agent ended the call", "the caller said goodbye")]


async def test_a_caller_is_put_through_to_an_allowed_target_by_its_name() -> None:
    async with bench(brief(transfer_targets=TARGETS)) as at:
        await at.use("transfer_call", target="night PORTER")

    assert [target.number for target in at.line.transfers] == ["sip:porter@hotel.test"]


@pytest.mark.parametrize("target", ["+13125550199", "sip:evil@attacker.test", "", "Front desk 2"])
async def test_nobody_is_put_through_to_anything_else(target: str) -> None:
    async with bench(brief(transfer_targets=TARGETS)) as at:
        answer = await at.use("transfer_call", target=target)

    assert answer == "You can put callers through to these only: Front desk, Night porter."
    assert not at.line.transfers
    assert at.reporter.uses == [("transfer_call", False)]


async def test_a_transfer_that_fails_reaches_the_model_as_words() -> None:
    async with bench(brief(transfer_targets=TARGETS), line=FakeLine(engaged=True)) as at:
        assert await at.use("transfer_call", target="Front desk") == (
            "They could not be put through."
        )


# ---- what the router runs ------------------------------------------------------------------


async def test_a_tool_of_the_persona_is_run_by_the_router() -> None:
    answers = {"order_status": "Order A7 is on its way."}
    async with bench(brief(http_tools=[HTTP_TOOL]), answers=answers) as at:
        answer = await at.use("order_status", order="A7")
        (tool,) = [tool for tool in at.agent.tools if tool.id == "order_status"]

    assert answer == "Order A7 is on its way."
    assert at.reporter.asked == [("order_status", {"order": "A7"})]
    assert isinstance(tool, llm.RawFunctionTool)
    assert tool.info.raw_schema["parameters"]["properties"] == {"order": {"type": "string"}}


async def test_a_router_that_is_away_is_a_sentence_for_the_model() -> None:
    async with bench(brief(direction="outbound")) as at:
        answer = await at.use("do_not_call", reason="leave me alone")

    assert answer == "do_not_call cannot be reached."
    assert at.reporter.uses == [("do_not_call", False)]


async def test_a_calendar_that_is_away_takes_its_tools_along() -> None:
    async with bench(brief(calendar={})) as at:
        answer = await at.use("check_calendar", day="2026-07-06")
        left = [tool.id for tool in at.agent.tools]

    assert answer.startswith("The calendar cannot be reached.")
    assert "check_calendar" not in left
    assert "book_appointment" not in left
    assert "end_call" in left


async def test_arguments_that_make_no_sense_are_words_too() -> None:
    async with bench(brief()) as at:
        result = await at.say('/share_information {"nonsense": 1}')
        assert (await at.say("Who are you?")).events

    result.expect.contains_function_call_output(is_error=True)
    assert not at.reporter.facts


# ---- what is offered -----------------------------------------------------------------------


def test_without_a_router_to_ask_its_tools_are_left_out_and_named() -> None:
    told = brief(reports=False, calendar={}, http_tools=[HTTP_TOOL])

    offered = offer_for(told)

    assert offered.names == (
        "share_information",
        "get_shared_information",
        "get_current_time",
        "end_call",
    )
    (problem,) = offered.problems
    assert "no router runs check_calendar, book_appointment, order_status" in str(problem)


def test_what_comes_with_outbound_calls_by_itself_may_be_missing_without_a_word() -> None:
    usual = brief(reports=False, direction="outbound")
    asked = brief(reports=False, direction="outbound", tools=["do_not_call"])

    assert offer_for(usual).problems == ()
    assert "do_not_call" not in offer_for(usual).names
    (problem,) = offer_for(asked).problems
    assert str(problem) == "tools: no router runs do_not_call on this call; left out"


def test_campaign_calls_have_no_tools() -> None:
    told = job.read(
        '{"phone_number": "+13125550123", "campaignPrompt": "Sell."}',
        "",
        "",
        house=shipped("house"),
        personas_by_id=lambda _: None,
    )

    assert offer_for(told).names == ()
    assert tools_for(told, FakeReporter(), FakeLine(), facts=Facts()) == []


def test_each_offered_tool_tells_the_model_what_it_is_for() -> None:
    told = brief(calendar={}, transfer_targets=TARGETS, direction="outbound")

    built = tools_for(told, FakeReporter(), FakeLine(), facts=Facts())

    assert [tool.id for tool in built] == list(offer_for(told).names)
    for tool in built:
        assert isinstance(tool, llm.FunctionTool)
        assert len(tool.info.description or "") > 60
