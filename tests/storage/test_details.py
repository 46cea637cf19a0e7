"""What people change about a certificate, and what comes in meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from certctl.domain.names import parse_names
from certctl.storage.certificates import add_version, certificate_rows, get_certificate
from certctl.storage.details import lock_details, store_details
from certctl.storage.versions import VersionRecord
from tests.storage.samples import seed_parents

if TYPE_CHECKING:
    from certctl.storage.certificates import CertificateRecord
    from certctl.storage.database import Database, Transaction

pytestmark = pytest.mark.anyio

VERSION = VersionRecord(
    id="ver-1",
    certificate_id="cert-1",
    issuer_id="iss-a",
    order_id="ord-1",
    serial="1",
    not_before=1,
    not_after=2**41,
    der=b"\0",
    chain_id="c" * 64,
    chain="",
    reference=None,
    created_at=1,
)


async def test_a_version_that_comes_late_renews_nothing_that_is_archived(
    database: Database,
) -> None:
    def write(transaction: Transaction) -> CertificateRecord | None:
        seed_parents(transaction)
        rows = certificate_rows(
            certificate_id="cert-1",
            issuer_id="iss-a",
            profile_id="prof-a",
            owner="web",
            common_name=None,
            names=parse_names(["www.example.org"]),
            version=None,
            renew_at=None,
            now_ms=1,
            labels={"b": "2", "a": "é"},
        )
        transaction.insert(rows)
        details = lock_details(transaction, "cert-1")
        assert details is not None
        assert details.labels == {"a": "é", "b": "2"}
        store_details(transaction, replace(details, archived_at=5, labels={}, owner=None))
        add_version(transaction, VERSION, 77, 6)
        return get_certificate(transaction.connection, "cert-1")

    found = await database.write(write)
    assert found is not None
    assert (found.status, found.archived_at, found.renew_at) == ("issued", 5, None)
    assert (found.owner, found.labels) == (None, {})

    def put_back(transaction: Transaction) -> CertificateRecord | None:
        details = lock_details(transaction, "cert-1")
        assert details is not None
        store_details(transaction, replace(details, archived_at=None))
        add_version(transaction, replace(VERSION, id="ver-2", serial="2"), 77, 7)
        return get_certificate(transaction.connection, "cert-1")

    found = await database.write(put_back)
    assert found is not None
    assert (found.renew_at, found.version and found.version.id) == (77, "ver-2")
    assert await database.write(lambda t: lock_details(t, "cert-nothing")) is None
