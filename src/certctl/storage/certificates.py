"""Certificates and their versions as rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, case, select, update

from certctl.storage.labels import decode_labels, encode_labels
from certctl.storage.revocations import revocations_of
from certctl.storage.tables import certificate_names, certificates, orders
from certctl.storage.versions import VERSION, VersionRecord, load_version, version_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Case, Connection, Table

    from certctl.domain.names import Name
    from certctl.storage.database import Row, Transaction


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
    renew_at: int | None
    created_at: int
    updated_at: int
    version: VersionRecord | None
    order_id: str | None
    labels: dict[str, str] = field(default_factory=dict)
    archived_at: int | None = None


def certificate_rows(
    *,
    certificate_id: str,
    issuer_id: str,
    profile_id: str,
    owner: str | None,
    common_name: str | None,
    names: Sequence[Name],
    version: VersionRecord | None,
    renew_at: int | None,
    now_ms: int,
    labels: Mapping[str, str] | None = None,
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
                "renew_at": renew_at,
                "labels": encode_labels(labels) if labels else None,
                "created_at": now_ms,
                "updated_at": now_ms,
            },
        )
    ]
    rows += [
        (
            certificate_names,
            {
                "value": name.value,
                "certificate_id": certificate_id,
                "kind": name.kind.value,
                "reversed": name.value[::-1],
            },
        )
        for name in names
    ]
    return rows


def _unless_archived() -> Case[Any]:
    """The time `renewal`, but null for what is archived, which is not renewed."""
    return case((certificates.c.archived_at.is_(None), bindparam("renewal", type_=BigInteger())))


_SET_VERSION = (
    update(certificates)
    .where(certificates.c.id == bindparam("which"))
    .values(
        status="issued",
        version_id=bindparam("version"),
        not_after=bindparam("end"),
        renew_at=_unless_archived(),
        updated_at=bindparam("now"),
    )
)


def add_version(
    transaction: Transaction, version: VersionRecord, renew_at: int | None, now_ms: int
) -> None:
    """Store a version and make it the certificate's newest, to be renewed at `renew_at`.

    What is archived meanwhile stays so, and is not renewed.
    """
    add_spare_version(transaction, version)
    transaction.execute(
        _SET_VERSION,
        {
            "which": version.certificate_id,
            "version": version.id,
            "end": version.not_after,
            "renewal": renew_at,
            "now": now_ms,
        },
    )


def add_spare_version(transaction: Transaction, version: VersionRecord) -> None:
    """Store a version beside the certificate's newest."""
    transaction.insert(version_rows(version))


_FAIL = (
    update(certificates)
    .where(certificates.c.id == bindparam("which"), certificates.c.version_id.is_(None))
    .values(status="failed", updated_at=bindparam("now"))
)


def mark_failed(transaction: Transaction, certificate_id: str, now_ms: int) -> None:
    """Note that the first order came to nothing; a certificate with a version stays as it is."""
    transaction.execute(_FAIL, {"which": certificate_id, "now": now_ms})


@dataclass(frozen=True, slots=True)
class CertificateState:
    """What decides about a certificate's next step."""

    issuer_id: str
    status: str
    version_id: str | None
    profile_id: str
    archived_at: int | None


_LOCK = (
    select(
        certificates.c.issuer_id,
        certificates.c.status,
        certificates.c.version_id,
        certificates.c.profile_id,
        certificates.c.archived_at,
    )
    .where(certificates.c.id == bindparam("which"))
    .with_for_update()
)


def lock_certificate(transaction: Transaction, certificate_id: str) -> CertificateState | None:
    """How a certificate stands, held until the transaction ends; None if there is none."""
    row = transaction.execute(_LOCK, {"which": certificate_id}).first()
    if row is None:
        return None
    return CertificateState(
        row.issuer_id, row.status, row.version_id, row.profile_id, row.archived_at
    )


_REVOKED = (
    update(certificates)
    .where(certificates.c.id.in_(bindparam("ids", expanding=True)))
    .values(status="revoked", renew_at=None, updated_at=bindparam("now"))
)


def mark_revoked(transaction: Transaction, certificate_ids: Sequence[str], now_ms: int) -> None:
    """Note that the newest versions are no longer valid; they are not renewed any more."""
    transaction.execute(_REVOKED, {"ids": list(certificate_ids), "now": now_ms})


_RELEASED = (
    update(certificates)
    .where(
        certificates.c.id == bindparam("which"), certificates.c.version_id == bindparam("newest")
    )
    .values(status="issued", renew_at=_unless_archived(), updated_at=bindparam("now"))
)


def mark_released(
    transaction: Transaction, certificate_id: str, version_id: str, renew_at: int, now_ms: int
) -> None:
    """Note that the hold on the newest version has ended; older versions change nothing."""
    transaction.execute(
        _RELEASED,
        {"which": certificate_id, "newest": version_id, "renewal": renew_at, "now": now_ms},
    )


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


def get_certificate(connection: Connection, certificate_id: str) -> CertificateRecord | None:
    """One certificate with its newest version, or None."""
    row = connection.execute(_GET, {"which": certificate_id}).first()
    if row is None:
        return None
    version = None
    if row.version_id is not None:
        version = load_version(connection.execute(VERSION, {"which": row.version_id}).one())
        if row.status == "revoked":
            version.revocation = revocations_of(connection, row.id).get(version.id)
    return CertificateRecord(
        id=row.id,
        issuer_id=row.issuer_id,
        profile_id=row.profile_id,
        owner=row.owner,
        common_name=row.common_name,
        names=json.loads(row.names),
        status=row.status,
        not_after=row.not_after,
        renew_at=row.renew_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=version,
        order_id=row.newest_order_id,
        labels=decode_labels(row.labels),
        archived_at=row.archived_at,
    )
