"""The page of faults: a row is written anew, the others stay."""

from tests.faults.__main__ import Row, lines_of, page, written
from tests.faults.scenario import Ground, Scenario, Seen


async def nothing(_ground: Ground) -> Seen:
    return Seen(holds=True, figures="nothing")


def scenario(name: str) -> Scenario:
    return Scenario(name=name, fault=f"{name} breaks", must="hold", run=nothing)


def rows(one: Scenario, figures: str) -> list[str]:
    held = Row(one, "", Seen(holds=True, figures=figures), 1.0)
    caught = Row(one, "blind", Seen(holds=False, figures=figures), 1.0)
    return [lines_of(held), lines_of(caught)]


def test_a_scenario_that_ran_again_takes_the_place_of_its_rows() -> None:
    first, second, gone = scenario("first"), scenario("second"), scenario("gone")
    known = [first, second]
    old = page(
        {one.name: rows(one, "earlier") for one in (first, gone, second)}, [first, gone, second]
    )

    new = page(written(old, known) | {"first": rows(first, "later")}, known)

    assert new.count("earlier") == new.count("later") == 2
    assert new.index("first breaks") < new.index("second breaks")
    assert "gone breaks" not in new
    assert "caught" in new
