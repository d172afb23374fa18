"""An event loop whose time passes only when everybody waits: then it jumps to the next timer.

Ten minutes of outage take as long as the work that is done in them. What goes on in threads takes
no time at all: while there is some, time stands still.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_THREADS_S = 0.001  # real seconds between two looks whether a thread is done


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: "VirtualLoop") -> None:
        super().__init__()
        self._of = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self._of.working:
            return super().select(_THREADS_S)
        events = super().select(0)
        if not events:
            self._of.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. No connections to elsewhere: they do take time."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.working = 0  # what threads are at
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> "asyncio.Future[_T]":
        future = super().run_in_executor(executor, func, *args)
        self.working += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _future: "asyncio.Future[Any]") -> None:
        self.working -= 1


async def virtually(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run *work* in a loop of that kind, in a thread of its own."""

    def run() -> _T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(work())

    return await asyncio.to_thread(run)
