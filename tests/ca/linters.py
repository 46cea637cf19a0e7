"""pkilint's linters for what a CA signs; each tells the codes of errors and of what is worse."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import pkix
from pkilint.bin import lint_pkix_signer_signee_cert_chain as chain_linter
from pkilint.loader import (
    RFC5280CertificateDocumentLoader,
    RFC5280CertificateListDocumentLoader,
    RFC6960OCSPResponseDocumentLoader,
)
from pkilint.pkix import certificate as pkix_certificate
from pkilint.pkix import crl as pkix_crl
from pkilint.pkix import extension, name
from pkilint.pkix import ocsp as pkix_ocsp
from pkilint.validation import ValidationFindingSeverity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509


def certificate_findings(certificate: x509.Certificate) -> set[str]:
    """What is wrong with a certificate by itself (RFC 5280 §4)."""
    document = RFC5280CertificateDocumentLoader().load_der_document(
        certificate.public_bytes(Encoding.DER), "certificate", "certificate"
    )
    return _codes(_certificate_linter().validate(document.root))


def pair_findings(issuer: x509.Certificate, issued: x509.Certificate) -> set[str]:
    """What does not match between a certificate and its issuer's: names, identifiers, signature."""
    documents: dict[str, Any] = {}
    for role, certificate in (("issuer", issuer), ("subject", issued)):
        documents[role] = RFC5280CertificateDocumentLoader().load_der_document(
            certificate.public_bytes(Encoding.DER), role, role, documents
        )
    decoding, above, below = _pair_linters()
    return _codes(
        result
        for linter, role in (
            (decoding, "issuer"),
            (decoding, "subject"),
            (above, "issuer"),
            (below, "subject"),
        )
        for result in linter.validate(documents[role].root)
    )


def crl_findings(der: bytes) -> set[str]:
    """What is wrong with a CRL (RFC 5280 §5)."""
    document = RFC5280CertificateListDocumentLoader().load_der_document(der, "crl", "crl")
    return _codes(_crl_linter().validate(document.root))


def ocsp_findings(der: bytes) -> set[str]:
    """What is wrong with an OCSP answer (RFC 6960 §4.2)."""
    document = RFC6960OCSPResponseDocumentLoader().load_der_document(der, "answer", "answer")
    return _codes(_ocsp_linter().validate(document.root))


def _codes(results: Iterable[Any]) -> set[str]:
    # The worst severity has the lowest number.
    return {
        description.finding.code
        for result in results
        for description in result.finding_descriptions
        if description.finding.severity <= ValidationFindingSeverity.ERROR
    }


def _decoders() -> list[Any]:
    return [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]


@cache
def _certificate_linter() -> Any:
    return pkix_certificate.create_pkix_certificate_validator_container(
        pkix_certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            pkix_certificate.create_issuer_validator_container([]),
            pkix_certificate.create_validity_validator_container(),
            pkix_certificate.create_subject_validator_container([]),
            pkix_certificate.create_extensions_validator_container([]),
            pkix_certificate.create_spki_validator_container([]),
        ],
    )


@cache
def _pair_linters() -> tuple[Any, Any, Any]:
    return (
        chain_linter.create_decoder_validation_container(),
        chain_linter.create_issuer_validation_container(),
        chain_linter.create_subject_validation_container(),
    )


@cache
def _crl_linter() -> Any:
    return pkix_crl.create_pkix_crl_validator_container(
        _decoders(),
        [
            pkix_crl.create_issuer_validator_container([]),
            pkix_crl.create_validity_validator_container(),
            pkix_crl.create_extensions_validator_container([]),
        ],
    )


@cache
def _ocsp_linter() -> Any:
    return pkix_ocsp.create_pkix_ocsp_response_validator_container(
        [pkix_ocsp.create_response_decoder(), *_decoders()], []
    )
