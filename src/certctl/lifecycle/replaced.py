"""The version that an order replaces, for CAs that have a renewal of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography import x509

from certctl.connectors.contract import Replaced
from certctl.storage.versions import list_versions

if TYPE_CHECKING:
    from certctl.storage.database import Connection, Database
    from certctl.storage.orders import OrderRecord
    from certctl.storage.versions import VersionRecord


async def find_replaced(database: Database, order: OrderRecord, now_ms: int) -> Replaced | None:
    """The certificate's newest version, where it is valid and of the order's issuer; or None.

    Raises Unavailable while the database is not there.
    """

    def load(connection: Connection) -> list[VersionRecord]:
        return list_versions(connection, order.certificate_id, limit=1)

    for newest in await database.read(load):
        is_valid = newest.revocation is None and newest.not_after > now_ms
        if is_valid and newest.issuer_id == order.issuer_id:
            reference = {} if newest.reference is None else json.loads(newest.reference)
            return Replaced(x509.load_der_x509_certificate(newest.der), reference)
    return None
