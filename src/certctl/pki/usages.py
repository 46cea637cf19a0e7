"""Extended key usages and their object identifiers."""

from __future__ import annotations

from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl.domain.usages import Usage

#: RFC 5280 §4.2.1.12
OID_OF_USAGE = {
    Usage.SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH,
    Usage.CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH,
    Usage.EMAIL_PROTECTION: ExtendedKeyUsageOID.EMAIL_PROTECTION,
    Usage.CODE_SIGNING: ExtendedKeyUsageOID.CODE_SIGNING,
    Usage.TIME_STAMPING: ExtendedKeyUsageOID.TIME_STAMPING,
}
USAGE_OF_OID = {oid: usage for usage, oid in OID_OF_USAGE.items()}
