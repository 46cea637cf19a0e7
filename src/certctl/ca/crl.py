"""Certificate revocation lists (RFC 5280 §5): complete, direct, one for everything a CA signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.ca.extensions import extension, reason_flag
from certctl.domain.errors import Misconfigured
from certctl.domain.revocations import RevocationReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl.ca.authority import CertificateAuthority
    from certctl.ca.extensions import Extension


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """A certificate that is revoked, or on hold; the time is in milliseconds."""

    serial: int
    revoked_at_ms: int
    reason: RevocationReason


def sign_crl(
    authority: CertificateAuthority,
    entries: Iterable[CrlEntry],
    *,
    number: int,
    this_update_ms: int,
    next_update_ms: int,
) -> bytes:
    """DER of a CRL with these entries, in their order.

    `number` grows with every CRL of this CA (RFC 5280 §5.2.3). Times are in milliseconds and stand
    in the CRL in whole seconds, rounded down.

    Raises Misconfigured (`ca-cannot-sign-crls`) when the CA's certificate does not allow it.
    """
    if not authority.signs_crl:
        raise Misconfigured(
            "ca-cannot-sign-crls",
            "the CA's own certificate does not allow it to sign CRLs",
            hint="ask your CA for a certificate with cRLSign",
        )
    # All in one call: the builder's methods copy its list of entries each time.
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=authority.certificate.subject,
        last_update=_moment(this_update_ms),
        next_update=_moment(next_update_ms),
        extensions=[authority.authority_key, extension(x509.CRLNumber(number))],
        revoked_certificates=[_revoked(entry) for entry in entries],
    )
    return authority.sign(builder).public_bytes(Encoding.DER)


def keeps_entry(not_after_ms: int, previous_this_update_ms: int | None) -> bool:
    """Whether the next CRL still has to list a revoked certificate.

    RFC 5280 §3.3: an entry stays until it was on one regularly issued CRL after the certificate's
    end, so that whoever looks later finds it. `previous_this_update_ms` is the time of the last CRL
    that was issued, None when there was none; both are in milliseconds.
    """
    if previous_this_update_ms is None:
        return True
    # In whole seconds, as both stand in what was signed; the last second is still a valid one.
    return previous_this_update_ms // 1000 <= not_after_ms // 1000


def _revoked(entry: CrlEntry) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder(
        serial_number=entry.serial,
        revocation_date=_moment(entry.revoked_at_ms),
        extensions=_REASONS[entry.reason],
    ).build()


def _reason(reason: RevocationReason) -> list[Extension]:
    flag = reason_flag(reason)
    return [] if flag is None else [extension(x509.CRLReason(flag))]


_REASONS = {reason: _reason(reason) for reason in RevocationReason}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, UTC)
