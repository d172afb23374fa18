"""The small persona API, asked over real connections."""

from collections.abc import Iterator

import httpx
import pytest

from router.demo.persona_api import Faults, PersonaApi

ANN = {"persona_name": "Ann", "personality": "You are Ann.", "mobile": "13125550101"}


@pytest.fixture
def persona_api() -> Iterator[PersonaApi]:
    with PersonaApi({"13125550101": ANN, "4930901820": '{"personality":  "Jörg"}'}) as running:
        yield running


def test_a_persona_is_served_by_its_number_and_counted(persona_api: PersonaApi) -> None:
    answer = httpx.get(f"{persona_api.url}/13125550101")

    assert answer.json() == ANN
    assert persona_api.requests == {"13125550101": 1}


def test_a_text_is_served_byte_for_byte(persona_api: PersonaApi) -> None:
    assert httpx.get(f"{persona_api.url}/4930901820").text == '{"personality":  "Jörg"}'


def test_an_unknown_number_is_404_and_counted(persona_api: PersonaApi) -> None:
    assert httpx.get(f"{persona_api.url}/13125550199").status_code == 404
    assert persona_api.requests["13125550199"] == 1


def test_a_persona_can_be_changed_while_it_runs(persona_api: PersonaApi) -> None:
    persona_api.personas["13125550101"] = {"personality": "You are Bea."}

    answer = httpx.get(f"{persona_api.url}/13125550101")

    assert answer.json() == {"personality": "You are Bea."}


def test_unavailable_is_503(persona_api: PersonaApi) -> None:
    persona_api.faults = Faults(unavailable=True)

    assert httpx.get(f"{persona_api.url}/13125550101").status_code == 503


def test_garbage_is_200_and_not_json(persona_api: PersonaApi) -> None:
    persona_api.faults = Faults(garbage=True)

    answer = httpx.get(f"{persona_api.url}/13125550101")

    assert answer.status_code == 200
    assert answer.text.startswith("<html>")


def test_a_wrong_number_is_in_the_answer(persona_api: PersonaApi) -> None:
    persona_api.faults = Faults(wrong_number="13125550199")

    assert httpx.get(f"{persona_api.url}/13125550101").json()["mobile"] == "13125550199"


def test_a_delay_outlasts_an_impatient_caller(persona_api: PersonaApi) -> None:
    persona_api.faults = Faults(delay_s=5)

    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{persona_api.url}/13125550101", timeout=0.2)


def test_stopped_it_refuses_connections_and_started_it_is_back_at_the_same_address(
    persona_api: PersonaApi,
) -> None:
    before = persona_api.url

    persona_api.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{before}/13125550101")
    persona_api.start()

    assert persona_api.url == before
    assert httpx.get(f"{before}/13125550101").status_code == 200
