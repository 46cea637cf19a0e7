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

from certctl.ca.ocsp import Good, OcspSigner, Revoked, Unknown
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from tests.ca.status import DAY_MS, HOUR_MS, make_crl, make_query, revoked
from tests.support.pki import NOW_MS, STATUS, make_authority, make_leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from certctl.ca.authority import CertificateAuthority

CHECK = Path(__file__).parent.parent / "support" / "java" / "CheckStatus.java"
UNDETERMINED = "UNDETERMINED_REVOCATION_STATUS"
# Java lets clocks differ by 15 minutes.
SKEW_MS = 20 * 60_000

pytestmark = pytest.mark.skipif(
    shutil.which("java") is None or shutil.which("javac") is None,
    reason="there is no Java compiler: apt-get install default-jdk-headless",
)

# What is handed to Java: "crl" or "ocsp", its DER, when Java looks at it, what it has to say.
Status = tuple[str, bytes, int, str]


def crl_statuses(authority: CertificateAuthority, leaf: x509.Certificate) -> dict[str, Status]:
    """CRLs about a leaf."""
    other = make_authority(KeyType.P256 if _is_edwards(authority) else KeyType.ED25519, sub=True)
    held = revoked(leaf, reason=RevocationReason.CERTIFICATE_HOLD)
    another = revoked(make_leaf(authority))
    good = make_crl(authority, [another])
    at = NOW_MS + HOUR_MS
    return {
        "crl-empty": ("crl", make_crl(authority), at, "VALID"),
        "crl-good": ("crl", good, at, "VALID"),
        "crl-at-its-end": ("crl", good, NOW_MS + DAY_MS, "VALID"),
        "crl-expired": ("crl", good, NOW_MS + DAY_MS + SKEW_MS, UNDETERMINED),
        "crl-revoked": (
            "crl",
            make_crl(authority, [another, revoked(leaf)]),
            at,
            "REVOKED KEY_COMPROMISE",
        ),
        "crl-held": ("crl", make_crl(authority, [held]), at, "REVOKED CERTIFICATE_HOLD"),
        "crl-of-another-ca": ("crl", make_crl(other), at, UNDETERMINED),
    }


def ocsp_statuses(authority: CertificateAuthority, leaf: x509.Certificate) -> dict[str, Status]:
    """OCSP answers about a leaf."""
    signer, query = OcspSigner(authority, NOW_MS), make_query(authority, leaf)
    since, at = NOW_MS - HOUR_MS, NOW_MS + 1000
    cases = {
        "ocsp-good": (query, Good(), at, "VALID"),
        "ocsp-expired": (query, Good(), NOW_MS + HOUR_MS + SKEW_MS, UNDETERMINED),
        "ocsp-unknown": (query, Unknown(), at, UNDETERMINED),
        "ocsp-about-another": (make_query(authority), Good(), at, UNDETERMINED),
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
        for name, (asked, status, moment, expected) in cases.items()
    }


def _is_edwards(authority: CertificateAuthority) -> bool:
    return authority.certificate.signature_hash_algorithm is None


def authorities() -> Iterator[tuple[str, CertificateAuthority]]:
    """Every CA that Java meets, with a name for it."""
    for ca_type, sub in product(KeyType, [False, True]):
        name = f"{ca_type}-{'sub' if sub else 'root'}"
        yield name, make_authority(ca_type, sub=sub, status=STATUS)
    for ca_type in KeyType:
        limited = make_authority(
            ca_type,
            sub=True,
            status=STATUS,
            usages=[ExtendedKeyUsageOID.SERVER_AUTH],
            digital_signature=True,
        )
        yield f"{ca_type}-answers-itself", limited


def test_java_believes_every_status(tmp_path: Path) -> None:
    files: dict[bytes, str] = {}

    def file(der: bytes) -> str:
        path = files.setdefault(der, str(tmp_path / f"{len(files)}.der"))
        Path(path).write_bytes(der)
        return path

    lines, expected = [], {}
    for ca_name, authority in authorities():
        leaf = make_leaf(authority)
        chain = [leaf, *authority.chain]
        anchor, *path = [file(one.public_bytes(Encoding.DER)) for one in reversed(chain)]
        statuses = {**crl_statuses(authority, leaf), **ocsp_statuses(authority, leaf)}
        for name, (kind, der, moment, verdict) in statuses.items():
            case = f"{ca_name}-{name}"
            lines.append("\t".join([case, kind, str(moment), anchor, file(der), *reversed(path)]))
            expected[case] = verdict
    # One run for all: most of its time is Java's start.
    result = subprocess.run(
        ["java", str(CHECK)], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert dict(line.split("\t") for line in result.stdout.splitlines()) == expected
