"""Trust stores and PKCS#7, as `keytool` and `openssl` read them."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from certctl.pki.stores import (
    alias_of,
    jks_trust_store,
    pkcs7_certificates,
    pkcs12_trust_store,
)
from tests.support.foreign import foreign, self_signed
from tests.support.pki import NOW_MS

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

LEAF = foreign("www.example.org", common_name="www.example.org")
CHAIN = LEAF.ca.chain
PASSWORD = "six-chars-and-more"

with_java = pytest.mark.skipif(
    shutil.which("keytool") is None, reason="keytool is not there: apt-get install default-jre"
)


def ran(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def keytool(store: Path, password: str) -> subprocess.CompletedProcess[str]:
    command = ["keytool", "-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en", "-list"]
    return subprocess.run(
        [*command, "-keystore", store, "-storepass", password],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex(":").upper()


@with_java
@pytest.mark.parametrize("kind", ["PKCS12", "JKS"])
def test_java_trusts_what_is_in_it(tmp_path: Path, kind: str) -> None:
    store = tmp_path / "store"
    if kind == "JKS":
        store.write_bytes(jks_trust_store(CHAIN, PASSWORD, NOW_MS))
    else:
        store.write_bytes(pkcs12_trust_store(CHAIN, PASSWORD))
    listed = keytool(store, PASSWORD)
    assert listed.returncode == 0, listed.stdout
    assert f"Keystore type: {kind}" in listed.stdout
    found = re.findall(
        r"^(\S+), .*?, trustedCertEntry, *\n.*SHA-256\): (\S+)", listed.stdout, re.MULTILINE
    )
    assert sorted(found) == sorted((alias_of(each), fingerprint(each)) for each in CHAIN)


@with_java
def test_a_store_that_was_changed_is_found_out(tmp_path: Path) -> None:
    store = tmp_path / "store"
    content = jks_trust_store(CHAIN, PASSWORD, NOW_MS)
    store.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:])
    assert "tampered" in keytool(store, PASSWORD).stdout


def test_openssl_reads_pkcs12_and_finds_no_key(tmp_path: Path) -> None:
    store = tmp_path / "store.p12"
    store.write_bytes(pkcs12_trust_store(CHAIN, PASSWORD))
    shown = ran("openssl", "pkcs12", "-in", store, "-passin", f"pass:{PASSWORD}", "-nodes", "-info")
    assert "PRIVATE KEY" not in shown
    assert shown.count("BEGIN CERTIFICATE") == len(CHAIN)
    for each in CHAIN:
        assert f"friendlyName: {alias_of(each)}" in shown
    # Oracle's trustedKeyUsage, without which Java passes them over.
    assert shown.count("2.16.840.1.113894.746875.1.1") == len(CHAIN)


def test_openssl_reads_pkcs7(tmp_path: Path) -> None:
    file = tmp_path / "all.p7b"
    file.write_bytes(pkcs7_certificates([LEAF.certificate, *CHAIN]))
    shown = ran("openssl", "pkcs7", "-inform", "DER", "-in", file, "-print_certs", "-noout")
    subjects = re.findall(r"^subject=CN ?= ?(.*)$", shown, re.MULTILINE)
    assert sorted(subjects) == ["Foreign Root", "Sub CA 0", "www.example.org"]


def test_an_alias_is_the_same_wherever_a_certificate_comes_from() -> None:
    first, second = (alias_of(foreign(ca=which).ca.certificate) for which in (0, 1))
    assert first == alias_of(CHAIN[0])
    assert re.fullmatch(r"sub-ca-0-[0-9a-f]{12}", first)
    assert re.fullmatch(r"sub-ca-1-[0-9a-f]{12}", second)
    # Java writes them in lower case, and JKS takes nothing but this alphabet for granted.
    odd = alias_of(self_signed(common_name="Größe & Söhne: CA №7"))
    assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{12}", odd)
