"""Our own numbers, as settings and trunks write them."""

from collections.abc import Sequence

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
