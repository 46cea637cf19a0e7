"""OpenSSL's command line believes our CRLs and OCSP answers, and what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl.ca.ocsp import CertificateStatus, Good, OcspSigner, Revoked, Unknown
from certctl.domain.clock import SystemClock, to_ms
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.ocsp import BadQuery, OcspError, parse_query
from tests.ca.status import DAY_MS, HOUR_MS, make_crl, make_query, revoked
from tests.support.pki import (
    NOW_MS,
    STATUS,
    make_authority,
    make_key,
    make_leaf,
    make_live_authority,
)

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.ca.authority import CertificateAuthority

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)


def write(folder: Path, authority: CertificateAuthority) -> list[str]:
    """The CA's certificates as files; options that make its root trusted and all of it known."""
    (folder / "ca.pem").write_text(to_pem(authority.certificate))
    (folder / "root.pem").write_text(to_pem(authority.chain[-1]))
    options = ["-CAfile", str(folder / "root.pem")]
    if len(authority.chain) > 1:
        (folder / "above.pem").write_text(chain_pem(authority.chain[:-1]))
        options += ["-untrusted", str(folder / "above.pem")]
    return options


def write_leaf(folder: Path, name: str, leaf: x509.Certificate) -> str:
    path = folder / f"{name}.pem"
    path.write_text(to_pem(leaf))
    return str(path)


def write_crl(folder: Path, der: bytes) -> str:
    path = folder / "crl.pem"
    path.write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
    return str(path)


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_verifies_with_a_crl(tmp_path: Path, ca_type: KeyType, sub: bool) -> None:
    authority = make_authority(ca_type, sub=sub, status=STATUS)
    trust = write(tmp_path, authority)
    leaves = {name: make_leaf(authority) for name in ("good", "bad", "held")}
    entries = [
        revoked(leaves["bad"]),
        revoked(leaves["held"], reason=RevocationReason.CERTIFICATE_HOLD),
    ]
    crl = write_crl(tmp_path, make_crl(authority, entries))
    files = {name: write_leaf(tmp_path, name, leaf) for name, leaf in leaves.items()}

    signed = openssl("crl", "-noout", "-in", crl, "-CAfile", str(tmp_path / "ca.pem"))
    assert "verify OK" in signed.stderr

    def verify(at_ms: int) -> subprocess.CompletedProcess[str]:
        moment = ["-attime", str(at_ms // 1000)]
        options = ["-x509_strict", "-crl_check", "-CRLfile", crl, *moment, *trust]
        return openssl("verify", *options, *files.values())

    now = verify(NOW_MS + HOUR_MS)
    assert re.findall(r"(\w+)\.pem: OK", now.stdout) == ["good"]
    assert re.findall(r"error (\d+) at .* lookup: certificate revoked", now.stderr) == ["23"] * 2
    # The day after the CRL's own last day: nobody is told anything.
    later = verify(NOW_MS + DAY_MS + 1000)
    assert "OK" not in later.stdout
    assert later.stderr.count("CRL has expired") == 3


def test_crl_of_another_ca_is_not_believed(tmp_path: Path) -> None:
    authority, other = make_authority(sub=True), make_authority(KeyType.ED25519, sub=True)
    trust = write(tmp_path, authority)
    leaf = write_leaf(tmp_path, "leaf", make_leaf(authority))
    crl = write_crl(tmp_path, make_crl(other))
    at = ["-attime", str(NOW_MS // 1000 + 1)]
    result = openssl("verify", "-crl_check", "-CRLfile", crl, *at, *trust, leaf)
    assert result.returncode != 0
    signed = openssl("crl", "-noout", "-in", crl, "-CAfile", str(tmp_path / "ca.pem"))
    assert "verify OK" not in signed.stderr


def ask(
    folder: Path,
    authority: CertificateAuthority,
    leaf: x509.Certificate,
    status: CertificateStatus,
    *,
    signed_by: CertificateAuthority | None = None,
    nonce: bytes | None = None,
) -> subprocess.CompletedProcess[str]:
    """Hand an answer to `openssl ocsp`, as if it had asked. It knows no other time than its own."""
    now_ms = SystemClock().now_ms()
    der = OcspSigner(signed_by or authority, now_ms).sign(
        make_query(authority, leaf, nonce=nonce),
        status,
        this_update_ms=now_ms,
        next_update_ms=now_ms + HOUR_MS,
    )
    write(folder, authority)
    (folder / "answer.der").write_bytes(der)
    return openssl(
        "ocsp",
        *("-respin", str(folder / "answer.der"), "-no_nonce"),
        *("-issuer", str(folder / "ca.pem")),
        *("-cert", write_leaf(folder, "leaf", leaf)),
        *("-CAfile", str(folder / "root.pem"), "-x509_strict"),
    )


def live_leaf(authority: CertificateAuthority) -> x509.Certificate:
    return make_leaf(authority, now_ms=SystemClock().now_ms())


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_ocsp_answers_are_believed(tmp_path: Path, ca_type: KeyType, sub: bool) -> None:
    authority = make_live_authority(ca_type, sub=sub)
    leaf = live_leaf(authority)
    since_ms = to_ms(leaf.not_valid_before_utc)
    for status, word, reason in (
        (Good(), "good", None),
        (Unknown(), "unknown", None),
        (Revoked(since_ms, RevocationReason.SUPERSEDED), "revoked", "superseded"),
        (Revoked(since_ms, RevocationReason.UNSPECIFIED), "revoked", None),
    ):
        result = ask(tmp_path, authority, leaf, status)
        assert "Response verify OK" in result.stderr, result.stderr
        assert "WARNING" not in result.stdout
        assert re.findall(r"leaf\.pem: (\w+)", result.stdout) == [word]
        assert re.findall(r"Reason: (\w+)", result.stdout) == ([reason] if reason else [])


@pytest.mark.parametrize("ca_type", KeyType)
def test_ocsp_answers_by_the_ca_itself_are_believed(tmp_path: Path, ca_type: KeyType) -> None:
    limits: dict[str, Any] = {
        "usages": [ExtendedKeyUsageOID.SERVER_AUTH],
        "digital_signature": True,
    }
    authority = make_live_authority(ca_type, **limits)
    result = ask(tmp_path, authority, live_leaf(authority), Good(), nonce=b"n" * 32)
    assert "Response verify OK" in result.stderr, result.stderr
    assert "leaf.pem: good" in result.stdout


def test_ocsp_answer_of_another_ca_is_not_believed(tmp_path: Path) -> None:
    authority, other = make_live_authority(), make_live_authority(KeyType.P384)
    result = ask(tmp_path, authority, live_leaf(authority), Good(), signed_by=other)
    assert "Response Verify Failure" in result.stderr


@pytest.mark.parametrize("ca_type", KeyType)
def test_questions_by_openssl_are_understood(tmp_path: Path, ca_type: KeyType) -> None:
    authority = make_authority(ca_type, sub=True)
    write(tmp_path, authority)
    signer = OcspSigner(authority, NOW_MS)
    leaf, asker = make_leaf(authority), make_key()
    path, asked = write_leaf(tmp_path, "leaf", leaf), tmp_path / "query.der"
    key = asker.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "asker.key").write_bytes(key)

    def ask_openssl(*options: str) -> bytes:
        about = ["-issuer", str(tmp_path / "ca.pem"), *options, "-cert", path]
        result = openssl("ocsp", *about, "-reqout", str(asked))
        assert result.returncode == 0, result.stderr
        return asked.read_bytes()

    signing = ["-signer", path, "-signkey", str(tmp_path / "asker.key")]
    for options in ([], ["-no_nonce"], ["-sha256"], ["-sha512", "-no_nonce"], signing):
        query = parse_query(ask_openssl(*options))
        assert query.serial == leaf.serial_number
        assert signer.answers_for(query)
        assert (query.nonce is None) is ("-no_nonce" in options)
    with pytest.raises(BadQuery) as caught:
        parse_query(ask_openssl("-cert", path))
    assert caught.value.error is OcspError.UNAUTHORIZED
