"""One core's limit: what issuing costs with nothing around it. One thread, no I/O."""

from __future__ import annotations

import time

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.load import make_csrs
from certctl.ca.authority import CertificateAuthority, create_root
from certctl.ca.extensions import StatusAddresses
from certctl.domain.keys import KeyType
from certctl.domain.usages import Usage
from certctl.pki.certificates import to_pem
from certctl.pki.requests import parse_request

_STATUS = StatusAddresses(
    crl="http://localhost/crl", ocsp="http://localhost/ocsp", ca="http://localhost/ca"
)


def core_limit(seconds: float) -> float:
    """Certificates per second: parse PEM, verify, build with all extensions, sign, encode."""
    now = time.time_ns() // 1_000_000
    key, certificate = create_root(common_name="Bench CA", key_type=KeyType.P256, now_ms=now)
    ca = CertificateAuthority(key, certificate, (), _STATUS)
    csrs = make_csrs(100)
    best = 0.0
    for _ in range(3):
        done = 0
        begun = time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < seconds / 3:
            request = parse_request(csrs[done % len(csrs)])
            issued = ca.issue(
                public_key=request.public_key,
                spki=request.spki,
                key_type=request.key_type,
                common_name=request.common_name,
                names=request.names,
                usages=(Usage.SERVER_AUTH,),
                validity_seconds=86_400 * 30,
                must_staple=False,
                now_ms=now,
            )
            to_pem(issued.public_bytes(Encoding.DER))
            done += 1
        best = max(best, done / elapsed)
    return best
