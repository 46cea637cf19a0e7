"""From what a CA answered to what is stored."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from certctl.domain.clock import to_ms
from certctl.domain.ids import sibling_id
from certctl.domain.serials import serial_hex
from certctl.pki.certificates import chain_pem, check_issued
from certctl.storage.versions import VersionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from certctl.connectors.contract import IssuanceRequest, IssuedCertificate
    from certctl.storage.orders import OrderRecord


class _ChainTexts:
    """PEM and id of the chain that was written last: an issuer's chain is the same every time."""

    def __init__(self) -> None:
        self._certificates: Sequence[x509.Certificate] | None = None
        self._text = ("", "")

    def of(self, certificates: Sequence[x509.Certificate]) -> tuple[str, str]:
        """The chain's id (SHA-256 of its PEM text) and its PEM text."""
        if certificates is not self._certificates:
            pem = chain_pem(certificates)
            self._text = (hashlib.sha256(pem.encode()).hexdigest(), pem)
            self._certificates = certificates
        return self._text


_chain_texts = _ChainTexts()


def stored_chain(certificates: Sequence[x509.Certificate]) -> tuple[str, str]:
    """The id of a chain (SHA-256 of its PEM text), and that text."""
    return _chain_texts.of(certificates)


def checked_version(
    issued: IssuedCertificate, order: OrderRecord, request: IssuanceRequest, now_ms: int
) -> VersionRecord:
    """The version to store for an order, its certificate held against the request first.

    Raises WrongCertificate.
    """
    check_issued(
        issued.certificate,
        issued.chain,
        spki=request.csr.spki,
        names=request.names,
        now_ms=now_ms,
    )
    return version_record(
        issued,
        certificate_id=order.certificate_id,
        issuer_id=order.issuer_id,
        order_id=order.id,
        now_ms=now_ms,
    )


def version_record(
    issued: IssuedCertificate,
    *,
    certificate_id: str,
    issuer_id: str,
    order_id: str,
    now_ms: int,
) -> VersionRecord:
    """The version to store for a certificate that a CA issued."""
    certificate = issued.certificate
    chain_id, chain = stored_chain(issued.chain)
    return VersionRecord(
        id=sibling_id("ver", order_id),
        certificate_id=certificate_id,
        issuer_id=issuer_id,
        order_id=order_id,
        serial=serial_hex(certificate.serial_number),
        not_before=to_ms(certificate.not_valid_before_utc),
        not_after=to_ms(certificate.not_valid_after_utc),
        der=certificate.public_bytes(Encoding.DER),
        chain_id=chain_id,
        chain=chain,
        reference=json.dumps(issued.reference) if issued.reference else None,
        created_at=now_ms,
    )
