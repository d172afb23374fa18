"""What a scripted conversation says and expects, as YAML, so that a persona can be tested. Pure.

A list of steps, in order. One without ``says`` looks at the greeting, and can only be the first::

    - contains: Lakeside Dental
    - says: My email is ruth@alder.example
      calls: share_information
    - says: Goodbye
      contains: [Thank you for calling]
      lacks: "{"
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from agent.errors import ScriptInvalid

Texts = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class Step(BaseModel):
    """One turn of the caller, and what must be true of the answer; upper and lower case are one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    says: str | None = Field(default=None, min_length=1, description="the caller's words")
    contains: Texts = Field(default=(), description="each of these is in the answer")
    lacks: Texts = Field(default=(), description="none of these is in the answer")
    calls: Texts = Field(default=(), description="each of these tools was used")

    def failures(self, said: str, called: Sequence[str]) -> list[str]:
        """Name what is not as it must be, in the author's words."""
        folded = said.casefold()
        return [
            *(f"expected {text!r}" for text in self.contains if text.casefold() not in folded),
            *(f"did not expect {text!r}" for text in self.lacks if text.casefold() in folded),
            *(f"expected the tool {name}" for name in self.calls if name not in called),
        ]


_STEPS: Final[TypeAdapter[tuple[Step, ...]]] = TypeAdapter(tuple[Step, ...])


def parse(text: str) -> tuple[Step, ...]:
    """Read a script.

    Raises:
        ScriptInvalid: one line that names the step and what is wrong.
    """
    try:
        raw: Any = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ScriptInvalid(f"the script is not YAML{where}") from exc
    if not isinstance(raw, list) or not raw:
        raise ScriptInvalid("the script is a list of steps: - says: …, contains: …, calls: …")
    try:
        steps = _STEPS.validate_python(raw)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        number, *rest = first["loc"]
        field = f", {rest[0]}" if rest else ""
        raise ScriptInvalid(f"step {int(number) + 1}{field}: {first['msg']}") from exc
    for number, step in enumerate(steps[1:], 2):
        if step.says is None:
            raise ScriptInvalid(f"step {number} says nothing; only the first looks at the greeting")
    return steps
