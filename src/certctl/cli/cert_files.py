"""Certificates in files: which are to be imported, and which only issued others.

Of a file with a private key in it, only the certificates are ever looked at, or sent.
"""

from __future__ import annotations

import binascii
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.pki.certificates import chain_pem, to_pem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_ENDINGS = frozenset({".pem", ".crt", ".cer", ".der", ".cert"})
_LARGEST_FILE = 16 * 1024 * 1024
_LONGEST_CHAIN = 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate to import, from which file, with those that issued it as PEM."""

    path: str
    certificate: str
    chain: str | None


@dataclass(frozen=True, slots=True)
class Unused:
    """A file, or a certificate in it, that is not imported: why not, and whether that is a fault.

    `reason` is `failed`, `chain` (it issued another one that was read) or `same`.
    """

    path: str
    reason: str
    words: str


@dataclass(slots=True)
class Gathered:
    """What the files have, in their order."""

    found: list[Candidate | Unused] = field(default_factory=list)


def gather(paths: Sequence[str]) -> Gathered:
    """Read files, and folders with all that is below them. Raises nothing for a bad file."""
    read: list[tuple[str, x509.Certificate]] = []
    gathered = Gathered()
    faults: list[Unused] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's, about certificates that the server refuses
        for path, is_named in _files(paths):
            certificates, words = _read(Path(path), is_named=is_named)
            read += [(path, certificate) for certificate in certificates]
            faults += [Unused(path, "failed", each) for each in words]
        gathered.found = [*_sorted_out(read), *faults]
    return gathered


def _files(paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each file, and whether it was named itself."""
    for path in paths:
        place = Path(path)
        if not place.is_dir():
            yield path, True
            continue
        for below in sorted(place.rglob("*")):
            if below.suffix.lower() in _ENDINGS and below.is_file():
                yield str(below), False


def _read(path: Path, *, is_named: bool) -> tuple[list[x509.Certificate], list[str]]:
    """The certificates in a file, and what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        return [], [f"cannot be read: {error.strerror}"]
    if len(content) > _LARGEST_FILE:
        return [], [f"is larger than {_LARGEST_FILE // 1024 // 1024} MiB"]
    if b"-----BEGIN " in content:
        blocks = list(_pem_blocks(content))
    else:
        blocks = [content] if content[:1] == b"\x30" else []
    found, words = [], []
    for block in blocks:
        certificate = None if block is None else _load(block)
        if certificate is None:
            words.append("has a certificate that cannot be read")
        else:
            found.append(certificate)
    if not blocks and is_named:
        words.append("has no certificate in it")
    return found, words


def _pem_blocks(content: bytes) -> Iterator[bytes | None]:
    """DER of each certificate's block; None for one that is broken."""
    for block in content.split(_BEGIN)[1:]:
        body, end, _ = block.partition(_END)
        try:
            yield binascii.a2b_base64(b"".join(body.split()), strict_mode=True) if end else None
        except binascii.Error:
            yield None


def _load(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.subject, certificate.issuer  # noqa: B018 - they are read when asked for
    except (ValueError, x509.InvalidVersion):
        return None
    return certificate


def _sorted_out(read: Sequence[tuple[str, x509.Certificate]]) -> Iterator[Candidate | Unused]:
    first: dict[bytes, str] = {}
    for path, certificate in read:
        first.setdefault(certificate.public_bytes(Encoding.DER), path)
    by_subject: dict[bytes, list[x509.Certificate]] = {}
    for der in first:
        certificate = x509.load_der_x509_certificate(der)
        by_subject.setdefault(certificate.subject.public_bytes(), []).append(certificate)
    issuer_of = {der: _issuer(x509.load_der_x509_certificate(der), by_subject) for der in first}
    issuers = {issuer.public_bytes(Encoding.DER) for issuer in issuer_of.values() if issuer}
    seen: set[bytes] = set()
    for path, certificate in read:
        der = certificate.public_bytes(Encoding.DER)
        if der in seen:
            yield Unused(path, "same", f"was in {first[der]} already")
            continue
        seen.add(der)
        if der in issuers:
            yield Unused(path, "chain", "issued another one of these")
        else:
            chain = _chain(der, issuer_of)
            yield Candidate(path, to_pem(certificate), chain_pem(chain) if chain else None)


def _issuer(
    certificate: x509.Certificate, by_subject: dict[bytes, list[x509.Certificate]]
) -> x509.Certificate | None:
    """Which of those that were read issued it; not itself."""
    for candidate in by_subject.get(certificate.issuer.public_bytes(), ()):
        if candidate == certificate:
            continue
        try:
            certificate.verify_directly_issued_by(candidate)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return candidate
    return None


def _chain(der: bytes, issuer_of: dict[bytes, x509.Certificate | None]) -> list[x509.Certificate]:
    """Upwards; cross-signed CAs may go round in a circle."""
    chain: list[x509.Certificate] = []
    issuer = issuer_of[der]
    while issuer is not None and issuer not in chain and len(chain) < _LONGEST_CHAIN:
        chain.append(issuer)
        issuer = issuer_of[issuer.public_bytes(Encoding.DER)]
    return chain
