"""Our own numbers, as settings, persona files and trunks write them."""

from collections.abc import Sequence
from pathlib import Path

from personas.sources.files import FilePersonaSource
from router.errors import LiveKitUnavailable
from router.own_numbers import OwnNumbers


class FakeTrunkNumbers:
    numbers: Sequence[str] | None = ("+13125550101", "(312) 555-0102", "sip:desk")

    async def trunk_numbers(self) -> Sequence[str]:
        if self.numbers is None:
            raise LiveKitUnavailable("not_reached")
        return self.numbers


async def test_they_are_read_in_any_notation_and_kept_while_livekit_is_away() -> None:
    trunks = FakeTrunkNumbers()
    own = OwnNumbers(configured={"ST_one": "312 555 0103"}, livekit=trunks, region="US")
    assert own.known() == {"+13125550103"}

    await own.learn()
    trunks.numbers = None
    await own.learn()

    assert own.known() == {"+13125550101", "+13125550102", "+13125550103"}


async def test_a_number_that_has_a_persona_file_is_ours(tmp_path: Path) -> None:
    folder = tmp_path / "personas"
    own = OwnNumbers(configured={}, region="US", files=FilePersonaSource(folder))
    await own.learn()
    assert own.known() == frozenset()

    folder.mkdir()
    for name in ("+13125550104.yaml", "4930901820.json", "house.yaml", "notes.txt"):
        (folder / name).touch()
    await own.learn()
    folder.rename(tmp_path / "away")
    await own.learn()

    assert own.known() == {"+13125550104", "+4930901820"}
