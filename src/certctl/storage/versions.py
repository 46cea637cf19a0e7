"""The versions of certificates as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from certctl.storage.revocations import revocations_of
from certctl.storage.tables import chains, issuers, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Row
    from certctl.storage.revocations import RevocationRecord

DUPLICATE_ID = "pk_versions"
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
    revocation: RevocationRecord | None = None


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


def load_version(row: SqlRow[Any]) -> VersionRecord:
    """A version from its row, which has its chain's `pem` as well."""
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


_WITH_CHAIN = select(versions, chains.c.pem).join(chains, chains.c.id == versions.c.chain_id)
#: One version with its chain, by its id as `which`.
VERSION = _WITH_CHAIN.where(versions.c.id == bindparam("which"))
_VERSIONS = (
    _WITH_CHAIN.where(versions.c.certificate_id == bindparam("which"))
    .order_by(versions.c.id.desc())
    .limit(bindparam("limit"))
)
_VERSIONS_AFTER = _VERSIONS.where(versions.c.id < bindparam("before"))


def get_version(
    connection: Connection, certificate_id: str, version_id: str
) -> VersionRecord | None:
    """One version of a certificate, with its revocation; None if there is none."""
    row = connection.execute(VERSION, {"which": version_id}).first()
    if row is None or row.certificate_id != certificate_id:
        return None
    version = load_version(row)
    version.revocation = revocations_of(connection, certificate_id).get(version.id)
    return version


_OF_SERIAL = _WITH_CHAIN.where(
    versions.c.issuer_id == bindparam("issuer"), versions.c.serial == bindparam("which")
)


def version_of_serial(connection: Connection, issuer_id: str, serial: str) -> VersionRecord | None:
    """The version that an issuer gave this serial, whosever it is; None if there is none."""
    row = connection.execute(_OF_SERIAL, {"issuer": issuer_id, "which": serial}).first()
    return None if row is None else load_version(row)


_OF_SERIAL_ANYWHERE = _WITH_CHAIN.where(
    # By the issuers, of which there are few, through the index that keeps serials unique.
    versions.c.issuer_id.in_(select(issuers.c.id)),
    versions.c.serial == bindparam("which"),
)


def versions_of_serial(connection: Connection, serial: str) -> list[VersionRecord]:
    """The versions that any issuer gave this serial."""
    return [load_version(row) for row in connection.execute(_OF_SERIAL_ANYWHERE, {"which": serial})]


def list_versions(
    connection: Connection, certificate_id: str, *, limit: int, before: str | None = None
) -> list[VersionRecord]:
    """A certificate's versions with ids below `before`, newest first, with their revocations."""
    values: dict[str, Any] = {"which": certificate_id, "limit": limit}
    if before is None:
        rows = connection.execute(_VERSIONS, values)
    else:
        rows = connection.execute(_VERSIONS_AFTER, {**values, "before": before})
    found = [load_version(row) for row in rows]
    revoked = revocations_of(connection, certificate_id)
    for version in found:
        version.revocation = revoked.get(version.id)
    return found


@dataclass(frozen=True, slots=True)
class ValidVersion:
    """A version that has not expired, revoked or not."""

    id: str
    certificate_id: str
    issuer_id: str
    serial: str
    not_after: int


_VALID = select(
    versions.c.id,
    versions.c.certificate_id,
    versions.c.issuer_id,
    versions.c.serial,
    versions.c.not_after,
).where(
    versions.c.certificate_id.in_(bindparam("ids", expanding=True)),
    versions.c.not_after >= bindparam("now"),
)


def valid_versions(
    connection: Connection, certificate_ids: Sequence[str], now_ms: int
) -> list[ValidVersion]:
    """The versions of these certificates that have not expired, by id."""
    rows = connection.execute(_VALID, {"ids": list(certificate_ids), "now": now_ms})
    return sorted((ValidVersion(*row) for row in rows), key=lambda version: version.id)
