"""What the agent makes of every payload, field by field.

``python -m tests.agent.test_golden`` writes the files anew; look at the difference first.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from agent import job
from tests.samples.golden import ENCODED, GOLDEN, HOUSE, encoded, names, payload

CASES = [*names(), *(f"encoded_{name}" for name in ENCODED)]


def brief_of(case: str) -> job.Brief:
    metadata = {"room": "", "participant": ""}
    if case.startswith("encoded_"):
        metadata["job"] = encoded(case.removeprefix("encoded_"))
    else:
        metadata = {"job": "", **metadata, case.partition("_")[0]: payload(case)}
    return job.read(
        metadata["job"],
        metadata["room"],
        metadata["participant"],
        house=HOUSE,
        personas_by_id=lambda _: None,
    )


def plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def written(brief: job.Brief) -> str:
    return json.dumps(plain(brief), ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_a_payload_becomes_the_brief_that_is_written_down(case: str) -> None:
    expected = (GOLDEN / "briefs" / f"{case}.json").read_text(encoding="utf-8")

    assert json.loads(written(brief_of(case))) == json.loads(expected)


def test_every_golden_file_has_its_payload() -> None:
    assert {path.stem for path in (GOLDEN / "briefs").iterdir()} == set(CASES)


if __name__ == "__main__":
    for one in CASES:
        (GOLDEN / "briefs" / f"{one}.json").write_text(written(brief_of(one)), encoding="utf-8")
