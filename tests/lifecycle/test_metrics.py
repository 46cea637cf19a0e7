"""Counting in several processes together, and what announcing an event leads to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from certctl.domain.events import MEANINGS, Event, EventKind
from certctl.lifecycle.events import Events
from certctl.lifecycle.metrics import Metrics, SharedFiles
from tests.support.exposition import Exposition

if TYPE_CHECKING:
    from pathlib import Path

_WORKER = """
import os, signal, sys
from pathlib import Path
from prometheus_client import generate_latest
from certctl.domain.events import EventKind
from certctl.lifecycle.metrics import Metrics, SharedFiles
metrics = Metrics(SharedFiles(Path(sys.argv[1]), int(sys.argv[2])))
for _ in range(int(sys.argv[3])):
    metrics.issuance("Local", "issued")
    metrics.attempt("Sample", "poll", "pending", 0.3)
metrics.event(EventKind.ORDER_EXPIRED)
print(generate_latest(metrics).decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def count(directory: Path, worker: int, times: int) -> Exposition:
    """What a worker sees that has just counted, before it dies without a word."""
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, str(directory), str(worker), str(times)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    return Exposition(done.stdout)


def test_workers_count_together_and_a_dead_ones_place_is_taken(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    SharedFiles.make_empty(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    count(directory, 0, 2)
    count(directory, 1, 30)
    files = sorted(file.name for file in directory.iterdir())
    seen = count(directory, 0, 400)
    assert seen.value("certctl_issuance_total", issuer_type="Local", outcome="issued") == 432
    seconds = "certctl_attempt_duration_seconds"
    assert seen.value(f"{seconds}_count", issuer_type="Sample", action="poll") == 432
    bucket = seen.value(f"{seconds}_bucket", issuer_type="Sample", action="poll", le="0.25")
    assert bucket == 0
    assert seen.value("certctl_events_total", kind="order_expired") == 3
    assert sorted(file.name for file in directory.iterdir()) == files
    SharedFiles.make_empty(directory)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("kind", list(EventKind))
def test_an_event_is_logged_as_loud_as_it_is_and_counted(kind: EventKind) -> None:
    metrics = Metrics()
    event = Event(kind, 0, "iss-a", "the CA's words", order_id="ord-1")
    with structlog.testing.capture_logs() as logs:
        Events(metrics).announce(event)
    (line,) = logs
    assert line["log_level"] == MEANINGS[kind].severity
    assert (line["kind"], line["issuer"], line["order"]) == (kind, "iss-a", "ord-1")
    assert (line["problem"], line["hint"]) == ("the CA's words", MEANINGS[kind].hint)
    (counted,) = [family for family in metrics.collect() if family.name == "certctl_events"]
    assert [(s.labels, s.value) for s in counted.samples] == [({"kind": kind.value}, 1.0)]
