"""Each language model over its provider's own protocol, well and ill, and who answers instead."""

import pytest
from livekit.agents import APIError, llm

from agent import speech
from agent.job import Brief
from personas.options import PersonaOptions
from tests.providers.conftest import Services
from tests.providers.service import Fault

THINKERS = ("azure_openai", "openai")


def brief(service: str) -> Brief:
    return Brief(language="en", options=PersonaOptions.model_validate({"llm": service}))


async def answer(parts: speech.Speech) -> str:
    """Ask something, as the session does."""
    assert isinstance(parts.mind, llm.LLM)
    asked = llm.ChatContext.empty()
    asked.add_message(role="user", content="Do you have a room?")
    options = parts.connect.llm_conn_options
    text = ""
    async with parts.mind.chat(chat_ctx=asked, conn_options=options) as stream:
        async for chunk in stream:
            text += (chunk.delta.content or "") if chunk.delta else ""
    return text


@pytest.fixture
def distinct(services: Services) -> Services:
    """Each provider answers in words of its own."""
    services.azure_openai.answer = "An answer by azure_openai and no other"
    services.openai.answer = "An answer by openai and no other"
    return services


@pytest.mark.parametrize(
    ("service", "provider", "path", "model"),
    [
        ("openai", "openai", "/v1/chat/completions", "gpt-4.1-mini"),
        ("openai/gpt-x", "openai", "/v1/chat/completions", "gpt-x"),
        (
            "Azure-OpenAI",
            "azure_openai",
            "/openai/deployments/thinks/chat/completions",
            "thinks",
        ),
        (
            "azure_openai/other",
            "azure_openai",
            "/openai/deployments/other/chat/completions",
            "other",
        ),
    ],
)
async def test_the_personas_model_answers(
    distinct: Services, service: str, provider: str, path: str, model: str
) -> None:
    parts = distinct.choose(brief(service))

    text = await answer(parts)

    assert text.strip() == f"An answer by {provider} and no other"
    asked = distinct.of(provider).requests[0]
    assert (asked.path, asked.body["model"]) == (path, model)
    assert asked.body["messages"][-1]["content"] == "Do you have a room?"
    assert parts.problems == ()


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.TOO_MANY, Fault.SILENT])
@pytest.mark.parametrize(
    ("provider", "other"), [("azure_openai", "openai"), ("openai", "azure_openai")]
)
async def test_the_next_model_answers_when_one_fails(
    distinct: Services, provider: str, other: str, fault: Fault
) -> None:
    distinct.of(provider).fault = fault
    parts = distinct.choose(brief(provider))

    assert (await answer(parts)).strip() == f"An answer by {other} and no other"


async def test_an_answer_that_is_cut_is_not_begun_anew_by_another(distinct: Services) -> None:
    distinct.openai.fault = Fault.CUT
    parts = distinct.choose(brief("openai"))

    with pytest.raises(APIError) as failure:
        await answer(parts)

    assert "all LLMs failed" not in str(failure.value)
    assert distinct.azure_openai.requests == []


async def test_when_nobody_answers_the_error_says_so(distinct: Services) -> None:
    for provider in THINKERS:
        distinct.of(provider).fault = Fault.TOO_MANY
    parts = distinct.choose(brief("openai"))

    with pytest.raises(APIError, match="all LLMs failed"):
        await answer(parts)
