"""Looking at what a caller named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.lifecycle.revocations import certificate_not_found
from certctl.storage.certificates import get_certificate

if TYPE_CHECKING:
    from certctl.storage.certificates import CertificateRecord
    from certctl.storage.database import Connection


def load_certificate(connection: Connection, certificate_id: str) -> CertificateRecord:
    """One certificate with its newest version; NotFound if there is none."""
    found = get_certificate(connection, certificate_id)
    if found is None:
        raise certificate_not_found()
    return found
