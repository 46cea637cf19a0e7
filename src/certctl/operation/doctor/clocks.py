"""This machine's clock, held against the other clocks there are and against what is stored."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from certctl.domain.clock import from_ms
from certctl.operation.doctor.findings import Finding, error, warning, well
from certctl.storage.inspection import newest_times, server_now_ms

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.domain.clock import Clock
    from certctl.storage.inspection import Inspection

CHECK = "clock"

_SOME_MS, _MUCH_MS = 5_000, 60_000
_HINT = "have both set by NTP (chrony, systemd-timesyncd), and look which of them is wrong"
_BEHIND = (
    "set this machine's clock by NTP (chrony, systemd-timesyncd); until then certificates are "
    "dated wrongly, and what is due waits"
)


def check_file_system(data_dir: Path, clock: Clock) -> list[Finding]:
    """The file system's clock (another machine's, on a network), by a file that is gone at once."""
    try:
        with tempfile.TemporaryFile(dir=data_dir) as file:
            before = clock.now_ms()
            file.write(b"\0")
            file.flush()
            theirs = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
            after = clock.now_ms()
    except OSError as fault:
        return [
            error(
                CHECK,
                f"no file can be written in {data_dir}: {fault.strerror}",
                "make room, mount it writable, or run this as the server's user",
            )
        ]
    return judge_other_clock("the data directory's file system", before, theirs, after)


def check_database_clock(inspection: Inspection, clock: Clock) -> list[Finding]:
    """PostgreSQL's clock; an embedded database has none. Raises Unavailable."""
    if inspection.dialect == "sqlite":
        return []
    inspection.look(server_now_ms)  # connecting took its time
    before = clock.now_ms()
    theirs = inspection.look(server_now_ms)
    return judge_other_clock("the database's server", before, theirs, clock.now_ms())


def check_stored_times(inspection: Inspection, clock: Clock) -> list[Finding]:
    """What was stored last, which cannot be of the future. Raises Unavailable."""
    event, not_before = inspection.look(newest_times)
    return judge_stored_times(clock.now_ms(), event, not_before)


def judge_other_clock(whose: str, before: int, theirs: int, after: int) -> list[Finding]:
    """How far another clock is off, read between two readings of ours (milliseconds)."""
    off = max(before - theirs, theirs - after, 0)
    if off < _SOME_MS:
        return []
    words = f"this machine's clock and that of {whose} differ by {off / 1000:.0f} s"
    return [(error if off >= _MUCH_MS else warning)(CHECK, words, _HINT)]


def judge_stored_times(now: int, event: int | None, not_before: int | None) -> list[Finding]:
    """Whether something stored is later than the present (milliseconds; None: there is nothing)."""
    for what, at in (
        ("the last audit event was written", event),
        ("the newest certificate begins", not_before),
    ):
        if at is not None and at > now + _MUCH_MS:
            return [
                error(
                    CHECK,
                    f"{what} at {from_ms(at):%Y-%m-%d %H:%M:%S} UTC, and this machine says "
                    f"{from_ms(now):%Y-%m-%d %H:%M:%S}: the clock goes wrong, or went wrong then",
                    _BEHIND,
                )
            ]
    return []


def or_well(findings: list[Finding], now: int) -> list[Finding]:
    """The findings of all clocks, or that they agree."""
    agreed = f"{from_ms(now):%Y-%m-%d %H:%M:%S} UTC, and nothing disagrees"
    return findings or [well(CHECK, agreed)]
