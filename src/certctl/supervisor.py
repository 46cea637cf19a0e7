"""Several worker processes on one listening socket."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger(__name__)

_RESTART_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def supervise(*, prepare: Callable[[], int], work: Callable[[int, int], int], workers: int) -> int:
    """Run `prepare` in a child, then `workers` children that run `work(number, lifeline)`.

    Children are forked before any loop, thread or database connection exists here. A worker that
    dies is started again after a second, under its number (from 0); SIGTERM and SIGINT are passed
    on and end everything.
    `lifeline` is a descriptor that reaches its end when this process is gone, however it went, so
    that no worker outlives it. Returns the exit code.
    """
    lifeline, held = os.pipe()
    code = os.waitstatus_to_exitcode(os.waitpid(_fork(prepare, held), 0)[1])
    if code:
        return code
    children: dict[int, int] = {}
    stopping = False

    def stop(number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in children:
            os.kill(pid, number)

    def start(worker: int) -> None:
        with _signals_blocked():  # a child that is not in the list would not be stopped
            if not stopping:
                children[_fork(lambda: work(worker, lifeline), held)] = worker

    for number in _SIGNALS:
        signal.signal(number, stop)
    for worker in range(workers):
        start(worker)
    while children:
        pid, status = os.wait()
        worker = children.pop(pid)
        if not stopping:
            log.error("worker died", pid=pid, exit_code=os.waitstatus_to_exitcode(status))
            time.sleep(_RESTART_SECONDS)
            start(worker)
    return 0


@contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(run: Callable[[], int], held: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(held)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = run()
    finally:
        os._exit(code)
