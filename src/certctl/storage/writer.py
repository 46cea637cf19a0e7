"""The one thread that writes: takes what is queued, stores it in one transaction, answers all."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from certctl.domain.errors import Unavailable
from certctl.storage.failures import RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.storage.transaction import BatchRunner, Outcome, Work

#: So many callers at most share a transaction: enough to make the commit cheap for each, few enough
#: that the first need not wait long for the last.
MAX_BATCH = 256
#: A connection that was idle for longer is asked for a sign of life first.
_IDLE_SECONDS = 1.0


@dataclass(slots=True)
class _Queued:
    work: Work
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Writer:
    """A queue in front of a `BatchRunner`; its thread starts with the first work."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner
        self._queue: SimpleQueue[_Queued | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        #: Monotonic time of the last successful commit; minus infinity after a failure.
        self.last_success = float("-inf")

    def __len__(self) -> int:
        """How much waits to be begun."""
        return self._queue.qsize()

    async def submit(self, work: Work) -> Any:
        """Store it; returns the function's value after COMMIT.

        Raises what went wrong; Unavailable after `close`. Cancelling drops work not yet begun.
        """
        # Whoever is ready now has its work prepared first: one batch of all is cheaper than a first
        # one of a single caller, whose thread would fight this one for the interpreter.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:  # else work could queue up behind the end
            if self._closed:
                raise Unavailable(
                    "server-stopping", "the server is stopping", retry_after=RETRY_AFTER_SECONDS
                )
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="writer", daemon=True)
                self._thread.start()
            self._queue.put(_Queued(work, future, loop))
        return await future

    def close(self) -> None:
        """Refuse new work, finish what is queued, end the thread. Blocks until then."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if self._thread is None:
            self._runner.close()
        else:
            self._thread.join()

    def _main(self) -> None:
        idle_since = time.monotonic()
        while batch := self._take():
            if time.monotonic() - idle_since > _IDLE_SECONDS:
                self._runner.check()
            wanted = [queued for queued in batch if not queued.future.cancelled()]
            if wanted:
                outcomes = self._runner.run([queued.work for queued in wanted])
                self._note(outcomes)
                _answer(wanted, outcomes)
            idle_since = time.monotonic()
        self._runner.close()

    def _take(self) -> list[_Queued]:
        """Wait for work and take all there is, to the limit; nothing at the end."""
        first = self._queue.get()
        if first is None:
            return []
        batch = [first]
        with suppress(Empty):
            while len(batch) < MAX_BATCH:
                queued = self._queue.get_nowait()
                if queued is None:
                    self._queue.put(None)  # for the next turn
                    break
                batch.append(queued)
        return batch

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        failed = any(isinstance(outcome.error, Unavailable) for outcome in outcomes)
        self.last_success = float("-inf") if failed else time.monotonic()


def _answer(batch: Sequence[_Queued], outcomes: Sequence[Outcome]) -> None:
    """Wake each loop once, however many of its callers are answered."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for queued, outcome in zip(batch, outcomes, strict=True):
        by_loop.setdefault(queued.loop, []).append((queued.future, outcome))
    for loop, answers in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple[asyncio.Future[Any], Outcome]]) -> None:
    for future, outcome in answers:
        if future.done():  # cancelled while it was stored
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        elif isinstance(outcome.error, StopIteration):  # which no future takes
            future.set_exception(RuntimeError("a write function raised StopIteration"))
        else:
            future.set_exception(outcome.error)
