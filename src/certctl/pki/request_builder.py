"""Making PKCS#10 requests: for our own HTTPS, and for the command line on an operator's machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.x509.oid import NameOID

from certctl.pki.general_names import general_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from certctl.domain.names import Name


def build_request(
    key: CertificateIssuerPrivateKeyTypes,
    names: Sequence[Name],
    common_name: str | None = None,
) -> str:
    """A signed PKCS#10 request (RFC 2986) in PEM, with the names as its subjectAltName."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name(subject))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False
        )
    # Edwards curves hash by themselves (RFC 8032).
    is_edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    request = builder.sign(key, None if is_edwards else hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
