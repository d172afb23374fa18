"""What is not there, and what went wrong, is said as every other error is."""

import pytest
from starlette.requests import Request

from router.api.unserved import apologise
from tests.router.api.rig import Rig


@pytest.mark.parametrize("path", ["/api/nothing", "/api/agentic/nothing", "/api", "/nothing"])
async def test_a_path_that_is_not_there_is_a_problem(rig: Rig, path: str) -> None:
    async with rig.client() as client:
        answer = await client.get(path)

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")
    assert "/docs" in answer.json()["fix"]


async def test_a_method_that_is_not_there_is_a_problem_that_names_those_which_are(rig: Rig) -> None:
    async with rig.client() as client:
        answers = [await client.patch(path) for path in ("/api/users", "/api/agentic/dnc", "/")]

    assert [answer.headers["allow"] for answer in answers] == [
        "GET, HEAD, POST",
        "DELETE, GET, HEAD, POST",
        "GET, HEAD",
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (405, "no_such_method")


async def test_an_error_of_ours_says_nothing_of_what_it_was() -> None:
    request = Request({"type": "http", "method": "GET", "path": "/api/calls", "headers": []})

    answer = await apologise(request, ValueError("+13125550101"))

    assert (answer.status_code, answer.media_type) == (500, "application/problem+json")
    assert b"crashed" in bytes(answer.body)
    assert b"0101" not in bytes(answer.body)
