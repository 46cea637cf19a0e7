"""Certificates of every kind pass pkilint's PKIX linters and OpenSSL's strict verification."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint.loader import RFC5280CertificateDocumentLoader
from pkilint.pkix import certificate as pkix
from pkilint.pkix import extension, name
from pkilint.validation import ValidationFindingSeverity

from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.usages import Usage
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.keys import classify, spki_of
from tests.support.pki import NOW_MS, make_authority, make_key

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
def _linter() -> Any:
    return pkix.create_pkix_certificate_validator_container(
        pkix.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            pkix.create_issuer_validator_container([]),
            pkix.create_validity_validator_container(),
            pkix.create_subject_validator_container([]),
            pkix.create_extensions_validator_container([]),
            pkix.create_spki_validator_container([]),
        ],
    )


@cache
def _exceptions() -> dict[str, frozenset[str]]:
    rows = tomllib.loads(EXCEPTIONS.read_text("utf-8"))["exception"]
    return {row["code"]: frozenset(row["names"]) for row in rows}


def findings(certificate: x509.Certificate) -> set[str]:
    """Codes of what pkilint calls an error or worse (the worst has the lowest number)."""
    document = RFC5280CertificateDocumentLoader().load_der_document(
        certificate.public_bytes(Encoding.DER), "certificate", "certificate"
    )
    return {
        description.finding.code
        for result in _linter().validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity <= ValidationFindingSeverity.ERROR
    }


@cache
def leaf(
    ca_type: KeyType, key_type: KeyType, combination: str, *, sub: bool = False
) -> x509.Certificate:
    """A certificate by the CA with a key of one type for a key of another."""
    usages, names, common_name, must_staple = COMBINATIONS[combination]
    public_key, _, _ = classify(make_key(key_type).public_key())
    return make_authority(ca_type, sub=sub).issue(
        public_key=public_key,
        spki=spki_of(public_key),
        key_type=key_type,
        common_name=common_name,
        names=parse_names(names),
        usages=usages,
        validity_seconds=90 * 86_400,
        must_staple=must_staple,
        now_ms=NOW_MS,
    )


def allowed(names: tuple[str, ...]) -> set[str]:
    """Codes that the table accepts for these names."""
    texts = {str(parsed) for parsed in parse_names(names)}
    return {code for code, about in _exceptions().items() if texts & about}


@pytest.mark.parametrize(("key_type", "combination"), list(product(KeyType, COMBINATIONS)), ids=str)
def test_leaf_passes_pkilint(key_type: KeyType, combination: str) -> None:
    _, names, _, _ = COMBINATIONS[combination]
    assert findings(leaf(KeyType.P256, key_type, combination)) == allowed(names)


@pytest.mark.parametrize("key_type", KeyType)
def test_ca_certificates_and_their_leaves_pass_pkilint(key_type: KeyType) -> None:
    for certificate in make_authority(key_type, sub=True).chain:
        assert findings(certificate) == set()
    assert findings(leaf(key_type, KeyType.P256, "both", sub=True)) == set()


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
