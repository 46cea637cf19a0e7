"""OCSP answers: who signs them, for how long, and what they say."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPResponse,
    OCSPResponseStatus,
    load_der_ocsp_response,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl.ca.authority import BACKDATE, CertificateAuthority
from certctl.ca.ocsp import CertificateStatus, Good, OcspSigner, Revoked, Unknown
from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.pki.keys import spki_of, subject_key_identifier
from certctl.pki.ocsp import OcspQuery
from tests.ca.status import DAY_MS, HASHES, make_query
from tests.support.pki import NOW, NOW_MS, STATUS, make_authority, make_ca, make_key

SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]


def answer(
    signer: OcspSigner,
    asked: OcspQuery,
    status: CertificateStatus | None = None,
    next_update_ms: int | None = NOW_MS + 3_600_999,
) -> OCSPResponse:
    der = signer.sign(
        asked, status or Good(), this_update_ms=NOW_MS + 999, next_update_ms=next_update_ms
    )
    return load_der_ocsp_response(der)


def verify(response: OCSPResponse, certificate: x509.Certificate) -> None:
    """Raise InvalidSignature unless the certificate's key made the signature."""
    key: Any = certificate.public_key()
    signature, signed = response.signature, response.tbs_response_bytes
    digest = response.signature_hash_algorithm
    match key:
        case ec.EllipticCurvePublicKey():
            assert digest is not None
            key.verify(signature, signed, ec.ECDSA(digest))
        case rsa.RSAPublicKey():
            assert digest is not None
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        case _:
            assert digest is None
            key.verify(signature, signed)


def found(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_every_ca_delegates_to_a_responder(ca_type: KeyType, sub: bool) -> None:
    authority = make_authority(ca_type, sub=sub, status=STATUS)
    signer = OcspSigner(authority, NOW_MS)
    certificate = signer.certificate
    assert signer.delegated
    certificate.verify_directly_issued_by(authority.certificate)
    above = "Sub CA" if sub else "Test Root"
    assert certificate.subject.rfc4514_string() == f"CN={above} OCSP"
    kinds = {type(extension.value): extension.critical for extension in certificate.extensions}
    assert kinds == {
        x509.BasicConstraints: True,
        x509.KeyUsage: True,
        x509.ExtendedKeyUsage: False,
        x509.OCSPNoCheck: False,
        x509.SubjectKeyIdentifier: False,
        x509.AuthorityKeyIdentifier: False,
    }
    assert not found(certificate, x509.BasicConstraints).value.ca
    assert list(found(certificate, x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.OCSP_SIGNING
    ]
    usage = found(certificate, x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.content_commitment
    assert not usage.key_cert_sign
    own = found(certificate, x509.SubjectKeyIdentifier).value.digest
    assert own == subject_key_identifier(spki_of(certificate.public_key()))
    key: Any = certificate.public_key()
    assert isinstance(key.curve, ec.SECP256R1)
    verify(answer(signer, make_query(authority)), certificate)


def test_every_signer_has_a_key_of_its_own() -> None:
    authority = make_authority()
    first, second = (OcspSigner(authority, NOW_MS).certificate for _ in range(2))
    assert spki_of(first.public_key()) != spki_of(second.public_key())
    assert first.serial_number != second.serial_number


def test_responder_lasts_a_week_and_is_renewed_at_half_of_it() -> None:
    signer = OcspSigner(make_authority(sub=True), NOW_MS + 567)
    certificate = signer.certificate
    assert certificate.not_valid_before_utc == NOW - timedelta(seconds=BACKDATE)
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lasts == timedelta(days=7) - timedelta(seconds=1)
    assert signer.not_after_ms == NOW_MS + (7 * 86_400 - BACKDATE - 1) * 1000
    left = signer.not_after_ms - (NOW_MS + 567)
    assert abs(signer.renew_at_ms - (NOW_MS + 567 + left / 2)) < 1


def test_responder_stays_within_the_ca() -> None:
    end = NOW + timedelta(days=2)
    authority = make_authority(sub=True, not_before=NOW, not_after=end)
    signer = OcspSigner(authority, NOW_MS)
    assert signer.certificate.not_valid_before_utc == NOW
    assert signer.certificate.not_valid_after_utc == end
    # A new one would not last longer: there is nothing to renew before the CA is.
    assert signer.renew_at_ms == signer.not_after_ms == authority.not_after_ms


def test_expired_ca_has_no_signer() -> None:
    authority = make_authority(sub=True)
    assert OcspSigner(authority, authority.not_after_ms).not_after_ms == authority.not_after_ms
    with pytest.raises(Misconfigured) as caught:
        OcspSigner(authority, authority.not_after_ms + 1000)
    assert caught.value.code == "ca-expired"


@pytest.mark.parametrize(
    ("name", "responder"),
    [("x" * 64, "x" * 59 + " OCSP"), (None, "CA OCSP")],
    ids=["longest", "none"],
)
def test_responder_of_a_ca_with_another_kind_of_name(name: str | None, responder: str) -> None:
    key = make_key(which=1)
    if name is None:
        other = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")])
        plain = make_ca(key)
        certificate = x509.CertificateBuilder(
            other,
            other,
            key.public_key(),
            1,
            plain.not_valid_before_utc,
            plain.not_valid_after_utc,
            list(plain.extensions),
        ).sign(key, hashes.SHA256())
    else:
        certificate = make_ca(key, common_name=name)
    authority = CertificateAuthority(key, certificate)
    signer = OcspSigner(authority, NOW_MS)
    assert [part.value for part in signer.certificate.subject] == [responder]
    assert signer.answers_for(make_query(authority))


@pytest.mark.parametrize("ca_type", KeyType)
def test_ca_limited_to_other_usages_signs_itself(ca_type: KeyType) -> None:
    authority = make_authority(ca_type, sub=True, usages=SERVER, digital_signature=True)
    signer = OcspSigner(authority, NOW_MS)
    assert not signer.delegated
    assert signer.certificate == authority.certificate
    assert signer.renew_at_ms == signer.not_after_ms == authority.not_after_ms
    response = answer(signer, make_query(authority))
    verify(response, authority.certificate)
    assert response.certificates == []


@pytest.mark.parametrize(
    ("wrong", "delegated"),
    [
        ({"usages": SERVER}, True),  # it may sign certificates and CRLs only
        ({"usages": SERVER, "key_usages": False}, False),
        ({"usages": [*SERVER, ExtendedKeyUsageOID.OCSP_SIGNING], "digital_signature": True}, True),
        (
            {
                "usages": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
                "digital_signature": True,
            },
            True,
        ),
        ({"digital_signature": True}, True),
    ],
    ids=["no-digital-signature", "no-key-usage", "ocsp-allowed", "any-allowed", "no-limit"],
)
def test_who_signs_follows_the_ca_certificate(wrong: dict[str, Any], delegated: bool) -> None:
    authority = make_authority(sub=True, **wrong)
    signer = OcspSigner(authority, NOW_MS)
    assert signer.delegated is delegated
    verify(answer(signer, make_query(authority)), signer.certificate)


@pytest.mark.parametrize("delegated", [True, False])
def test_responder_is_named_by_its_key_and_sent_along(delegated: bool) -> None:
    limits: dict[str, Any] = {} if delegated else {"usages": SERVER, "digital_signature": True}
    authority = make_authority(sub=True, **limits)
    signer = OcspSigner(authority, NOW_MS)
    response = answer(signer, make_query(authority))
    # RFC 6960 §4.2.1: KeyHash is SHA-1 of the responder's key, as the library's method 1.
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.certificate.public_key())
    assert response.responder_key_hash == identifier.digest
    assert response.responder_name is None
    assert response.certificates == ([signer.certificate] if delegated else [])


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda algorithm: algorithm.name)
def test_signer_answers_for_its_own_ca_only(algorithm: hashes.HashAlgorithm) -> None:
    own, other = make_authority(sub=True), make_authority(KeyType.P384, sub=True)
    signer = OcspSigner(own, NOW_MS)
    mine, other_key = make_query(own, algorithm=algorithm), make_query(other, algorithm=algorithm)
    other_name = make_query(make_authority(), algorithm=algorithm)
    # The other CA has the same name and another key.
    assert other_key.issuer_name_hash == mine.issuer_name_hash
    assert other_name.issuer_name_hash != mine.issuer_name_hash
    mixed = OcspQuery(
        mine.serial,
        mine.hash_algorithm,
        other_name.issuer_name_hash,
        mine.issuer_key_hash,
        None,
    )
    assert signer.answers_for(mine)
    assert not any(signer.answers_for(asked) for asked in (other_key, other_name, mixed))


@pytest.mark.parametrize(
    ("algorithm", "nonce"),
    list(product(HASHES, [None, b"n", b"n" * 128])),
    ids=lambda part: getattr(part, "name", None) or str(len(part or b"")),
)
def test_question_is_repeated_in_the_answer(
    algorithm: hashes.HashAlgorithm, nonce: bytes | None
) -> None:
    authority = make_authority()
    asked = make_query(authority, algorithm=algorithm, nonce=nonce)
    response = answer(OcspSigner(authority, NOW_MS), asked)
    assert response.response_status is OCSPResponseStatus.SUCCESSFUL
    assert response.serial_number == asked.serial
    assert response.hash_algorithm.name == algorithm.name
    assert response.issuer_name_hash == asked.issuer_name_hash
    assert response.issuer_key_hash == asked.issuer_key_hash
    nonces = [(extension.value, extension.critical) for extension in response.extensions]
    assert nonces == ([] if nonce is None else [(x509.OCSPNonce(nonce), False)])
    assert len(response.single_extensions) == 0


@pytest.mark.parametrize(
    ("status", "said"), [(Good(), OCSPCertStatus.GOOD), (Unknown(), OCSPCertStatus.UNKNOWN)]
)
def test_good_and_unknown(status: CertificateStatus, said: OCSPCertStatus) -> None:
    authority = make_authority()
    response = answer(OcspSigner(authority, NOW_MS), make_query(authority), status)
    assert response.certificate_status is said
    assert response.revocation_time_utc is None


@pytest.mark.parametrize("reason", RevocationReason)
def test_revoked(reason: RevocationReason) -> None:
    authority = make_authority()
    response = answer(
        OcspSigner(authority, NOW_MS), make_query(authority), Revoked(NOW_MS - 1, reason)
    )
    assert response.certificate_status is OCSPCertStatus.REVOKED
    assert response.revocation_time_utc == NOW - timedelta(seconds=1)
    said = response.revocation_reason
    unspecified = reason is RevocationReason.UNSPECIFIED
    assert (said and said.value) == (None if unspecified else reason.value)


def test_times_are_whole_seconds_rounded_down() -> None:
    authority = make_authority()
    signer, asked = OcspSigner(authority, NOW_MS), make_query(authority)
    response = answer(signer, asked)
    assert response.this_update_utc == NOW
    assert response.next_update_utc == NOW + timedelta(hours=1)
    assert answer(signer, asked, next_update_ms=None).next_update_utc is None


def test_answer_is_not_good_for_longer_than_its_signer() -> None:
    authority = make_authority()
    signer = OcspSigner(authority, NOW_MS)
    response = answer(signer, make_query(authority), next_update_ms=NOW_MS + 30 * DAY_MS)
    assert response.next_update_utc == signer.certificate.not_valid_after_utc
