"""When each step of a call was reached, in milliseconds since its job began. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stages:
    """Grows while the call is set up; a step that is reached again keeps its latest time."""

    clock: Callable[[], float]  # monotonic seconds
    _began: float = field(init=False)
    _reached: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def reach(self, step: str) -> None:
        """Note that *step* is reached now."""
        self._reached[step] = round(self.elapsed_s * 1000)

    def __contains__(self, step: object) -> bool:
        return step in self._reached

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Give each step and its milliseconds, in the order in which they were reached first."""
        return iter(tuple(self._reached.items()))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job began."""
        return self.clock() - self._began
