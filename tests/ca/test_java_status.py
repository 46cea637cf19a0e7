"""Java's PKIX validator believes our CRLs and OCSP answers, and what they say."""

from __future__ import annotations

import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl.ca.authority import CertificateAuthority
from certctl.ca.ocsp import CertificateStatus, Good, OcspSigner, Revoked, Unknown
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from tests.ca.status import DAY_MS, HOUR_MS, make_crl, make_query, revoked
from tests.support.pki import NOW_MS, STATUS, make_authority, make_ca, make_key, make_leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from certctl.pki.ocsp import OcspQuery

CHECK = Path(__file__).parent.parent / "support" / "java" / "CheckStatus.java"
# Java lets clocks differ by 15 minutes.
SKEW_MS = 20 * 60_000

pytestmark = pytest.mark.skipif(
    shutil.which("java") is None or shutil.which("javac") is None,
    reason="there is no Java compiler: apt-get install default-jdk-headless",
)

# What is handed to Java: "crl" or "ocsp", its DER, when Java looks at it, what it has to say.
Status = tuple[str, bytes, int, str]


def _name(authority: CertificateAuthority) -> str:
    (part,) = authority.certificate.subject
    return str(part.value)


def crl_statuses(authority: CertificateAuthority, leaf: x509.Certificate) -> dict[str, Status]:
    """CRLs about a leaf."""
    key = make_key(which=2)
    other = CertificateAuthority(key, make_ca(key, common_name=_name(authority)))
    held = revoked(leaf, reason=RevocationReason.CERTIFICATE_HOLD)
    another = revoked(make_leaf(authority))
    good = make_crl(authority, [another])
    at = NOW_MS + HOUR_MS
    return {
        "crl-empty": ("crl", make_crl(authority), at, "VALID"),
        "crl-good": ("crl", good, at, "VALID"),
        "crl-at-its-end": ("crl", good, NOW_MS + DAY_MS, "VALID"),
        "crl-expired": ("crl", good, NOW_MS + DAY_MS + SKEW_MS, "NOT TOLD"),
        "crl-revoked": (
            "crl",
            make_crl(authority, [another, revoked(leaf)]),
            at,
            "REVOKED KEY_COMPROMISE",
        ),
        "crl-held": ("crl", make_crl(authority, [held]), at, "REVOKED CERTIFICATE_HOLD"),
        "crl-of-another-ca": ("crl", make_crl(other), at, "NOT TOLD"),
    }


def ocsp_statuses(authority: CertificateAuthority, leaf: x509.Certificate) -> dict[str, Status]:
    """OCSP answers about a leaf."""
    signer, query = OcspSigner(authority, NOW_MS), make_query(authority, leaf)
    since, at = NOW_MS - HOUR_MS, NOW_MS + 1000
    answers: dict[str, tuple[OcspQuery, CertificateStatus, int, str]] = {
        "ocsp-good": (query, Good(), at, "VALID"),
        "ocsp-expired": (query, Good(), NOW_MS + HOUR_MS + SKEW_MS, "NOT TOLD"),
        "ocsp-unknown": (query, Unknown(), at, "NOT TOLD"),
        "ocsp-about-another": (make_query(authority), Good(), at, "NOT TOLD"),
        "ocsp-revoked": (
            query,
            Revoked(since, RevocationReason.UNSPECIFIED),
            at,
            "REVOKED UNSPECIFIED",
        ),
        "ocsp-held": (
            query,
            Revoked(since, RevocationReason.CERTIFICATE_HOLD),
            at,
            "REVOKED CERTIFICATE_HOLD",
        ),
    }
    return {
        name: (
            "ocsp",
            signer.sign(asked, status, this_update_ms=NOW_MS, next_update_ms=NOW_MS + HOUR_MS),
            moment,
            expected,
        )
        for name, (asked, status, moment, expected) in answers.items()
    }


def cases() -> Iterator[tuple[str, CertificateAuthority, x509.Certificate, Status]]:
    """Every case with its name, its CA and its leaf."""
    for ca_type, sub in product(KeyType, [False, True]):
        authority = make_authority(ca_type, sub=sub, status=STATUS)
        leaf = make_leaf(authority)
        for name, status in (
            crl_statuses(authority, leaf) | ocsp_statuses(authority, leaf)
        ).items():
            yield f"{ca_type}-{'sub' if sub else 'root'}-{name}", authority, leaf, status
    for ca_type in KeyType:
        authority = make_authority(
            ca_type, sub=True, usages=[ExtendedKeyUsageOID.SERVER_AUTH], digital_signature=True
        )
        leaf = make_leaf(authority)
        for name, status in ocsp_statuses(authority, leaf).items():
            yield f"{ca_type}-itself-{name}", authority, leaf, status


def test_java_believes_every_status(tmp_path: Path) -> None:
    files: dict[bytes, str] = {}

    def file(der: bytes) -> str:
        path = files.setdefault(der, str(tmp_path / f"{len(files)}.der"))
        Path(path).write_bytes(der)
        return path

    lines, expected = [], {}
    for name, authority, leaf, (kind, der, moment, verdict) in cases():
        *path, anchor = [file(one.public_bytes(Encoding.DER)) for one in (leaf, *authority.chain)]
        lines.append("\t".join([name, kind, str(moment), anchor, file(der), *path]))
        expected[name] = verdict
    # One run for all, and one without the optimizing compiler: most of its time is Java's start.
    command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", str(CHECK)]
    result = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert dict(line.split("\t") for line in result.stdout.splitlines()) == expected
