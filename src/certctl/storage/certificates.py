"""Certificates and their versions as rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from certctl.storage import tables
from certctl.storage.tables import certificate_names, certificates, chains, orders, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.domain.names import Name
    from certctl.storage.database import Row, Transaction

DUPLICATE_SERIAL = "uq_versions_issuer_id_serial"


@dataclass(slots=True)
class VersionRecord:
    """One X.509 certificate. Times in milliseconds."""

    id: str
    certificate_id: str
    issuer_id: str
    order_id: str
    serial: str
    not_before: int
    not_after: int
    der: bytes
    chain_id: str
    chain: str
    reference: str | None
    created_at: int


@dataclass(slots=True)
class CertificateRecord:
    """What an operator manages. `names` are written `kind:value`."""

    id: str
    issuer_id: str
    profile_id: str
    owner: str | None
    common_name: str | None
    names: list[str]
    status: str
    not_after: int | None
    created_at: int
    updated_at: int
    version: VersionRecord | None
    order_id: str | None


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate as the inventory lists it."""

    id: str
    issuer_id: str
    profile_id: str
    owner: str | None
    common_name: str | None
    names: list[str]
    status: str
    not_after: int | None
    created_at: int
    serial: str | None


def certificate_rows(
    *,
    certificate_id: str,
    issuer_id: str,
    profile_id: str,
    owner: str | None,
    common_name: str | None,
    names: Sequence[Name],
    version: VersionRecord | None,
    now_ms: int,
) -> list[tuple[Table, Row]]:
    """The rows of a new certificate and of its index of names."""
    rows: list[tuple[Table, Row]] = [
        (
            certificates,
            {
                "id": certificate_id,
                "issuer_id": issuer_id,
                "profile_id": profile_id,
                "owner": owner,
                "common_name": common_name,
                "names": json.dumps([str(name) for name in names]),
                "status": "pending" if version is None else "issued",
                "version_id": None if version is None else version.id,
                "not_after": None if version is None else version.not_after,
                "created_at": now_ms,
                "updated_at": now_ms,
            },
        )
    ]
    rows += [
        (
            certificate_names,
            {"value": name.value, "certificate_id": certificate_id, "kind": name.kind.value},
        )
        for name in names
    ]
    return rows


def version_rows(version: VersionRecord) -> list[tuple[Table, Row]]:
    """The rows of a new version; its chain is stored once, whoever comes first."""
    return [
        (chains, {"id": version.chain_id, "pem": version.chain}),
        (
            versions,
            {
                "id": version.id,
                "certificate_id": version.certificate_id,
                "issuer_id": version.issuer_id,
                "order_id": version.order_id,
                "serial": version.serial,
                "not_before": version.not_before,
                "not_after": version.not_after,
                "der": version.der,
                "chain_id": version.chain_id,
                "reference": version.reference,
                "created_at": version.created_at,
            },
        ),
    ]


_SET_VERSION = (
    update(certificates)
    .where(certificates.c.id == bindparam("which"))
    .values(
        status="issued",
        version_id=bindparam("version"),
        not_after=bindparam("end"),
        updated_at=bindparam("now"),
    )
)
_HAS_CHAIN = select(chains.c.id).where(chains.c.id == bindparam("which"))


def add_version(transaction: Transaction, version: VersionRecord, now_ms: int) -> None:
    """Store a version and make it the certificate's newest."""
    (_, chain), (_, row) = version_rows(version)
    if transaction.execute(_HAS_CHAIN, {"which": version.chain_id}).first() is None:
        transaction.execute(insert(chains), chain)
    transaction.execute(insert(versions), row)
    transaction.execute(
        _SET_VERSION,
        {
            "which": version.certificate_id,
            "version": version.id,
            "end": version.not_after,
            "now": now_ms,
        },
    )


_FAIL = (
    update(certificates)
    .where(certificates.c.id == bindparam("which"), certificates.c.version_id.is_(None))
    .values(status="failed", updated_at=bindparam("now"))
)


def mark_failed(transaction: Transaction, certificate_id: str, now_ms: int) -> None:
    """Note that the first order came to nothing; a certificate with a version stays as it is."""
    transaction.execute(_FAIL, {"which": certificate_id, "now": now_ms})


_NEWEST_ORDER = (
    select(orders.c.id)
    .where(orders.c.certificate_id == certificates.c.id)
    .order_by(orders.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_GET = select(certificates, _NEWEST_ORDER.label("newest_order_id")).where(
    certificates.c.id == bindparam("which")
)
_VERSION = (
    select(versions, tables.chains.c.pem)
    .join(tables.chains, tables.chains.c.id == versions.c.chain_id)
    .where(versions.c.id == bindparam("which"))
)


def _version(row: SqlRow[Any]) -> VersionRecord:
    return VersionRecord(
        id=row.id,
        certificate_id=row.certificate_id,
        issuer_id=row.issuer_id,
        order_id=row.order_id,
        serial=row.serial,
        not_before=row.not_before,
        not_after=row.not_after,
        der=row.der,
        chain_id=row.chain_id,
        chain=row.pem,
        reference=row.reference,
        created_at=row.created_at,
    )


def get_certificate(connection: Connection, certificate_id: str) -> CertificateRecord | None:
    """One certificate with its newest version, or None."""
    row = connection.execute(_GET, {"which": certificate_id}).first()
    if row is None:
        return None
    version = None
    if row.version_id is not None:
        version = _version(connection.execute(_VERSION, {"which": row.version_id}).one())
    return CertificateRecord(
        id=row.id,
        issuer_id=row.issuer_id,
        profile_id=row.profile_id,
        owner=row.owner,
        common_name=row.common_name,
        names=json.loads(row.names),
        status=row.status,
        not_after=row.not_after,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=version,
        order_id=row.newest_order_id,
    )


_LIST = (
    select(
        certificates.c.id,
        certificates.c.issuer_id,
        certificates.c.profile_id,
        certificates.c.owner,
        certificates.c.common_name,
        certificates.c.names,
        certificates.c.status,
        certificates.c.not_after,
        certificates.c.created_at,
        versions.c.serial,
    )
    .outerjoin(versions, versions.c.id == certificates.c.version_id)
    .order_by(certificates.c.id.desc())
    .limit(bindparam("limit"))
)
_LIST_AFTER = _LIST.where(certificates.c.id < bindparam("before"))


def list_certificates(
    connection: Connection, *, limit: int, before: str | None
) -> list[CertificateLine]:
    """Certificates with ids below `before`, newest first."""
    if before is None:
        rows = connection.execute(_LIST, {"limit": limit})
    else:
        rows = connection.execute(_LIST_AFTER, {"limit": limit, "before": before})
    return [
        CertificateLine(
            id=row.id,
            issuer_id=row.issuer_id,
            profile_id=row.profile_id,
            owner=row.owner,
            common_name=row.common_name,
            names=json.loads(row.names),
            status=row.status,
            not_after=row.not_after,
            created_at=row.created_at,
            serial=row.serial,
        )
        for row in rows
    ]
