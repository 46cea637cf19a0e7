"""The Local CA: there is nobody outside who could misbehave."""

from __future__ import annotations

from certctl.connectors.local import CONNECTOR
from certctl.domain.orders import Recovery
from tests.conformance.driver import Driver

DRIVERS = [Driver(name="local", connector=CONNECTOR, recovery=Recovery.INTERNAL)]
