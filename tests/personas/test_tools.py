from typing import Any

import pytest

from personas.options import DEFAULT_TOOLS, PersonaOptions
from personas.tools import offer

HTTP_TOOL = {"name": "order_status", "description": "Look up an order.", "url": "https://a.test"}
TARGET = {"name": "front desk", "number": "+13125550111"}


def options(**fields: Any) -> PersonaOptions:
    return PersonaOptions.model_validate(fields)


def test_a_persona_without_a_list_has_the_usual_four() -> None:
    offered = offer(options(), direction="inbound")

    assert offered.names == DEFAULT_TOOLS
    assert not offered.problems
    assert not offered.asks_router


def test_who_is_called_can_always_ask_not_to_be_called_again() -> None:
    assert "do_not_call" in offer(options(), direction="outbound").names
    assert "do_not_call" not in offer(options(), direction="inbound").names


def test_without_a_list_what_a_persona_brings_the_means_for_is_offered_too() -> None:
    wishes = options(http_tools=[HTTP_TOOL], transfer_targets=[TARGET], calendar={})

    offered = offer(wishes, direction="inbound")

    assert set(offered.names) - set(DEFAULT_TOOLS) == {
        "transfer_call",
        "check_calendar",
        "book_appointment",
        "order_status",
    }
    assert offered.asks_router


def test_a_list_allows_what_it_names_and_nothing_else() -> None:
    wishes = options(tools=["end_call"], http_tools=[HTTP_TOOL], transfer_targets=[TARGET])

    assert offer(wishes, direction="outbound").names == ("end_call",)
    assert offer(options(tools=[]), direction="inbound").names == ()


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        (options(tools=["fly"]), "there is no fly"),
        (options(tools=["transfer_call"]), "needs transfer_targets"),
        (options(tools=["check_calendar"]), "needs a calendar"),
        (options(http_tools=[{**HTTP_TOOL, "name": "end_call"}]), "end_call is taken"),
        (options(http_tools=[HTTP_TOOL, HTTP_TOOL]), "order_status is taken"),
    ],
)
def test_a_wish_that_cannot_be_met_is_a_problem_in_words(
    wishes: PersonaOptions, problem: str
) -> None:
    offered = offer(wishes, direction="inbound")

    (unmet,) = offered.problems
    assert problem in str(unmet)
    assert unmet.fix
