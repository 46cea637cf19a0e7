"""What a CA signs passes pkilint's PKIX linters, and OpenSSL's strict verification."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl.ca.crl import CrlEntry
from certctl.ca.ocsp import CertificateStatus, Good, OcspSigner, Revoked, Unknown
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.revocations import RevocationReason
from certctl.domain.usages import Usage
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.ocsp import OcspError, error_response
from tests.ca.linters import certificate_findings, crl_findings, ocsp_findings, pair_findings
from tests.ca.status import make_crl, make_query
from tests.support.pki import NOW_MS, STATUS, make_authority, make_leaf

if TYPE_CHECKING:
    from cryptography import x509

EXCEPTIONS = Path(__file__).parent.parent / "data" / "pkilint_exceptions.toml"

SERVER = ("www.example.org", "*.example.org", "localhost", "10.0.0.1", "2001:db8::1")
# Usages, names, common name, must-staple
COMBINATIONS: dict[str, tuple[tuple[Usage, ...], tuple[str, ...], str | None, bool]] = {
    "server": ((Usage.SERVER_AUTH,), SERVER, "www.example.org", False),
    "server-without-subject": ((Usage.SERVER_AUTH,), ("xn--bcher-kva.example",), None, True),
    "client": ((Usage.CLIENT_AUTH,), (), "John Smith", False),
    "client-spiffe": ((Usage.CLIENT_AUTH,), ("spiffe://example.org/service",), None, False),
    "both": ((Usage.SERVER_AUTH, Usage.CLIENT_AUTH), ("www.example.org",), None, False),
    "smime": ((Usage.EMAIL_PROTECTION,), ("ann@example.org",), "Ann", False),
    "code": ((Usage.CODE_SIGNING,), (), "Example Software", False),
    "time": ((Usage.TIME_STAMPING,), (), "Example Time", False),
}


@cache
def _exceptions() -> dict[str, frozenset[str]]:
    rows = tomllib.loads(EXCEPTIONS.read_text("utf-8"))["exception"]
    return {row["code"]: frozenset(row["names"]) for row in rows}


@cache
def leaf(
    ca_type: KeyType, key_type: KeyType, combination: str, *, sub: bool = False
) -> x509.Certificate:
    """A certificate by the CA with a key of one type for a key of another."""
    usages, names, common_name, must_staple = COMBINATIONS[combination]
    return make_leaf(
        make_authority(ca_type, sub=sub, status=STATUS),
        key_type,
        common_name=common_name,
        names=parse_names(names),
        usages=usages,
        must_staple=must_staple,
    )


def allowed(names: tuple[str, ...]) -> set[str]:
    """Codes that the table accepts for these names."""
    texts = {str(parsed) for parsed in parse_names(names)}
    return {code for code, about in _exceptions().items() if texts & about}


@pytest.mark.parametrize(("key_type", "combination"), list(product(KeyType, COMBINATIONS)), ids=str)
def test_leaf_passes_pkilint(key_type: KeyType, combination: str) -> None:
    _, names, _, _ = COMBINATIONS[combination]
    assert certificate_findings(leaf(KeyType.P256, key_type, combination)) == allowed(names)


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_every_certificate_of_a_ca_passes_pkilint(ca_type: KeyType, sub: bool) -> None:
    authority = make_authority(ca_type, sub=sub, status=STATUS)
    below = [
        make_leaf(authority),
        make_leaf(authority, validity_seconds=3599),  # noRevAvail
        make_leaf(make_authority(ca_type, sub=sub)),  # without a status
        OcspSigner(authority, NOW_MS).certificate,
    ]
    for certificate in (*authority.chain, *below):
        assert certificate_findings(certificate) == set()
    for issuer, certificate in (
        *pairwise(reversed(authority.chain)),
        *((authority.certificate, certificate) for certificate in below),
    ):
        assert pair_findings(issuer, certificate) == set()


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_crls_pass_pkilint(ca_type: KeyType, sub: bool) -> None:
    authority = make_authority(ca_type, sub=sub)
    entries = [
        CrlEntry(number, NOW_MS, reason) for number, reason in enumerate(RevocationReason, 1)
    ]
    assert crl_findings(make_crl(authority, entries)) == set()
    assert crl_findings(make_crl(authority)) == set()


STATUSES: list[CertificateStatus] = [
    Good(),
    Unknown(),
    *(Revoked(NOW_MS, reason) for reason in RevocationReason),
]


@pytest.mark.parametrize("delegated", [True, False], ids=["responder", "ca-itself"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_ocsp_answers_pass_pkilint(ca_type: KeyType, delegated: bool) -> None:
    limits: dict[str, Any] = {
        "usages": [ExtendedKeyUsageOID.SERVER_AUTH],
        "digital_signature": True,
    }
    authority = make_authority(ca_type, sub=True, **({} if delegated else limits))
    signer = OcspSigner(authority, NOW_MS)
    assert signer.delegated is delegated
    query = make_query(authority, nonce=b"n" * 32)
    for status in STATUSES:
        der = signer.sign(query, status, this_update_ms=NOW_MS, next_update_ms=NOW_MS + 1000)
        assert ocsp_findings(der) == set()


@pytest.mark.parametrize("error", OcspError)
def test_ocsp_errors_pass_pkilint(error: OcspError) -> None:
    assert ocsp_findings(error_response(error)) == set()


def test_linters_look_at_what_they_are_given() -> None:
    authority, other = make_authority(), make_authority(KeyType.P384)
    signer = OcspSigner(authority, NOW_MS)
    assert pair_findings(other.certificate, make_leaf(authority)) == {
        "pkix.issuer_and_subject_key_identifier_not_equal",
        "pkix.signature_verification_failed",
    }
    assert crl_findings(make_crl(authority, lasts_ms=-1000)) == {
        "pkix.crl_negative_validity_period"
    }
    der = signer.sign(
        make_query(authority), Good(), this_update_ms=NOW_MS, next_update_ms=NOW_MS - 1000
    )
    assert ocsp_findings(der) == {"pkix.ocsp_negative_validity_period"}


def test_exceptions_are_few_and_about_names() -> None:
    assert set(_exceptions()) <= {"pkix.invalid_domain_name_syntax", "pkix.invalid_uri_syntax"}
    known = {
        str(parsed) for _, names, _, _ in COMBINATIONS.values() for parsed in parse_names(names)
    }
    for about in _exceptions().values():
        assert about <= known
        assert all(text.startswith(("dns:*.", "uri:")) or "." not in text for text in about)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_openssl_verifies_strictly(tmp_path: Path, ca_type: KeyType, sub: bool) -> None:
    authority = make_authority(ca_type, sub=sub)
    root, above = tmp_path / "root.pem", tmp_path / "sub.pem"
    root.write_text(to_pem(authority.chain[-1]))
    above.write_text(chain_pem(authority.chain[:-1]))
    leaves = []
    for number, (key_type, combination) in enumerate(product(KeyType, COMBINATIONS)):
        path = tmp_path / f"leaf{number}.pem"
        path.write_text(to_pem(leaf(ca_type, key_type, combination, sub=sub)))
        leaves.append(str(path))
    command = ["openssl", "verify", "-x509_strict", "-attime", str(NOW_MS // 1000)]
    command += ["-CAfile", str(root), *(["-untrusted", str(above)] if sub else [])]
    result = subprocess.run([*command, *leaves], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(": OK") == len(leaves)
