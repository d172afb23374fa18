import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.dispositions import (
    BY_SIP_STATUS,
    Disposition,
    Outcome,
    of_answer,
    of_error,
    of_lost_answer,
    of_sip_status,
)
from tests.samples import FOLDER

RECORDED: list[dict[str, Any]] = [
    json.loads(line)
    for line in (FOLDER / "sip_outbound.jsonl").read_text(encoding="utf-8").splitlines()
]
EXPECTED = {
    ("answered", True): Disposition.ANSWERED,
    ("answered", False): Disposition.UNCERTAIN,
    ("busy", True): Disposition.BUSY,
    ("busy", False): Disposition.UNCERTAIN,
    ("decline", True): Disposition.DECLINED,
    ("noanswer", True): Disposition.NO_ANSWER,
    ("unavailable", True): Disposition.FAILED,
    ("nobody_listening", True): Disposition.NO_ANSWER,
    ("unknown_trunk", True): Disposition.FAILED,
}


def outcome_of(row: dict[str, Any]) -> Outcome:
    body = json.loads(row["body"])
    if row["status"] == 200:
        return of_answer(waited=row["request"]["wait_until_answered"])
    return of_error(body["code"], body.get("meta", {}))


@pytest.mark.parametrize(
    "row", RECORDED, ids=[f"{r['case']}-{r['request']['wait_until_answered']}" for r in RECORDED]
)
def test_every_recorded_answer_has_its_disposition(row: dict[str, Any]) -> None:
    outcome = outcome_of(row)

    assert outcome.disposition is EXPECTED[row["case"], row["request"]["wait_until_answered"]]
    assert outcome.answered == (outcome.disposition is Disposition.ANSWERED)


def test_only_the_sip_status_tells_the_callee_from_our_own_fault() -> None:
    busy = of_error("resource_exhausted", {"sip_status_code": "486", "sip_status": "Busy Here"})
    limited = of_error("resource_exhausted", {})

    assert busy == Outcome(Disposition.BUSY, "SIP 486", 486)
    assert limited == Outcome(Disposition.FAILED, "LiveKit: resource_exhausted")


@pytest.mark.parametrize(
    ("status", "disposition"),
    [
        *((status, disposition) for status, disposition in BY_SIP_STATUS.items()),
        (180, Disposition.UNCERTAIN),
        (200, Disposition.ANSWERED),
        (302, Disposition.FAILED),
        (403, Disposition.FAILED),
        (500, Disposition.FAILED),
        (503, Disposition.FAILED),
    ],
)
def test_a_sip_status_has_one_disposition(status: int, disposition: Disposition) -> None:
    assert of_sip_status(status).disposition is disposition


@pytest.mark.parametrize("code", ["unavailable", "deadline_exceeded", "internal", "unknown", "?"])
def test_what_leaves_it_open_whether_a_phone_rang_is_uncertain(code: str) -> None:
    assert of_error(code, {}).disposition is Disposition.UNCERTAIN
    assert of_lost_answer().disposition is Disposition.UNCERTAIN


@given(code=st.text(max_size=30), raw=st.text(max_size=6))
def test_no_answer_of_livekit_raises_or_is_repeated_in_words(code: str, raw: str) -> None:
    outcome = of_error(code, {"sip_status_code": raw})

    assert outcome.because.startswith(("SIP ", "LiveKit: "))
