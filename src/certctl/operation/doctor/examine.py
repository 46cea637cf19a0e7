"""All checks, in the order in which one thing depends on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.errors import CertctlError
from certctl.operation.doctor import clocks, files, listeners, sealing, work
from certctl.operation.doctor.database import CHECK as DATABASE
from certctl.operation.doctor.database import check_database
from certctl.operation.doctor.disk import check_disk
from certctl.operation.doctor.findings import Finding, error
from certctl.storage.inspection import inspect_database

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.settings import Settings
    from certctl.storage.inspection import Inspection


def examine(settings: Settings, clock: Clock) -> list[Finding]:
    """Look an installation over, with its server running or not; changes nothing.

    What cannot be looked at because of something that was found before is left out.
    """
    data_dir = settings.data_dir
    found = files.check_files(settings)
    if not data_dir.is_dir():
        return found
    running = listeners.find_running(data_dir)
    found += check_disk(data_dir)
    found += listeners.check_server(running)
    found += listeners.check_https(settings, running, clock)
    clock_findings = clocks.check_file_system(data_dir, clock)
    url = settings.database_url.get_secret_value() if settings.database_url else None
    try:
        with inspect_database(url, data_dir) as inspection:
            findings, is_ours = check_database(settings, inspection)
            found += findings
            if is_ours:
                clock_findings += clocks.check_database_clock(inspection, clock)
                clock_findings += clocks.check_stored_times(inspection, clock)
                found += _look_into(settings, inspection, running, clock)
    except CertctlError as fault:  # it went away, or a setting is wrong
        found.append(error(DATABASE, fault.detail, fault.hint or "look into its log; try again"))
    return found + clocks.or_well(clock_findings, clock.now_ms())


def _look_into(
    settings: Settings,
    inspection: Inspection,
    running: listeners.Running | None,
    clock: Clock,
) -> list[Finding]:
    return [
        *sealing.check_sealing(settings, inspection),
        *work.check_issuers(inspection),
        *work.check_orders(inspection),
        *listeners.check_status_address(inspection, running, clock),
    ]
