import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ScriptInvalid
from agent.script import Step, parse

SCRIPT = """
- contains: Lakeside Dental
- says: My email is ruth@alder.example
  calls: share_information
- says: Goodbye
  contains: [thank you, goodbye]
  lacks: "{"
"""


def test_a_script_is_a_list_of_steps() -> None:
    assert parse(SCRIPT) == (
        Step(contains=("Lakeside Dental",)),
        Step(says="My email is ruth@alder.example", calls=("share_information",)),
        Step(says="Goodbye", contains=("thank you", "goodbye"), lacks=("{",)),
    )


def test_a_step_names_what_is_not_as_it_must_be() -> None:
    step = Step(says="Hi", contains=("Mira", "hotel"), lacks=("robot",), calls=("end_call",))

    assert step.failures("MIRA here, your robot", []) == [
        "expected 'hotel'",
        "did not expect 'robot'",
        "expected the tool end_call",
    ]
    assert step.failures("mira of the Hotel", ["end_call"]) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a list of steps"),
        ("says: hi", "a list of steps"),
        ("- says: [", "not YAML"),
        ("- says: hi\n- expects: x\n", "step 2, expects"),
        ("- says: 7\n", "step 1, says"),
        ("- says: hi\n- contains: x\n", "step 2 says nothing"),
    ],
)
def test_a_script_that_cannot_be_used_says_where(text: str, why: str) -> None:
    with pytest.raises(ScriptInvalid, match=why):
        parse(text)


@given(st.text(max_size=80))
def test_no_other_error_comes_out_of_a_script(text: str) -> None:
    try:
        steps = parse(text)
    except ScriptInvalid:
        return
    assert steps
