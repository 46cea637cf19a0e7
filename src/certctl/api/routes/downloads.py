"""`/api/v1/certificates/{id}/download`: a version as a file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from cryptography import x509
from fastapi import APIRouter, Header, Query, Request, Response

from certctl.api.services import ObjectId, services, use_cases
from certctl.domain.errors import Conflict, InvalidInput, NotFound
from certctl.lifecycle.lookups import load_certificate
from certctl.pki.certificates import split_pem_certificates, to_pem
from certctl.pki.stores import jks_trust_store, pkcs7_certificates, pkcs12_trust_store

if TYPE_CHECKING:
    from certctl.storage.certificates import CertificateRecord
    from certctl.storage.versions import VersionRecord

router = APIRouter(prefix="/certificates/{certificate_id}", tags=["certificates"])

#: What everybody expects of a trust store, and Java's own has.
DEFAULT_PASSWORD = "changeit"  # noqa: S105 - it guards nothing
_SHORTEST_PASSWORD, _LONGEST_PASSWORD = 6, 128  # keytool takes no shorter one


class FileFormat(StrEnum):
    """Forms of a certificate as a file."""

    PEM = "pem"
    CHAIN = "chain"
    DER = "der"
    PKCS7 = "pkcs7"
    PKCS12 = "pkcs12"
    JKS = "jks"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a format is sent."""

    media_type: str
    ending: str
    is_text: bool = False


_KINDS = {
    FileFormat.PEM: _Kind("application/x-pem-file", "pem", is_text=True),
    FileFormat.CHAIN: _Kind("application/x-pem-file", "pem", is_text=True),
    FileFormat.DER: _Kind("application/pkix-cert", "cer"),
    FileFormat.PKCS7: _Kind("application/pkcs7-mime; smime-type=certs-only", "p7b"),
    FileFormat.PKCS12: _Kind("application/x-pkcs12", "p12"),
    FileFormat.JKS: _Kind("application/x-java-keystore", "jks"),
}
_CONTENT = {
    kind.media_type: {
        "schema": {"type": "string", **({} if kind.is_text else {"format": "binary"})}
    }
    for kind in _KINDS.values()
}

StorePassword = Annotated[
    str | None,
    Header(
        alias="X-Store-Password",
        description="Of a trust store (`pkcs12`, `jks`): 6 to 128 visible ASCII characters. "
        f"Default: `{DEFAULT_PASSWORD}`",
    ),
]


@router.get(
    "/download",
    summary="Download a certificate",
    response_class=Response,
    responses={
        200: {
            "description": "The newest version, or the one that was asked for",
            "content": _CONTENT,
        }
    },
)
async def download(
    request: Request,
    certificate_id: ObjectId,
    format: Annotated[  # noqa: A002 - the name of the query parameter
        FileFormat,
        Query(
            description="`pem`: the certificate; `chain`: with its issuers; `der`: binary; "
            "`pkcs7`: with its issuers, binary (.p7b); `pkcs12`, `jks`: a trust store for Java "
            "with its issuers, and no private key"
        ),
    ] = FileFormat.PEM,
    version_id: Annotated[
        str | None,
        Query(
            alias="version",
            max_length=80,
            pattern=r"^[a-z0-9-]+$",
            description="One of its versions; default: the newest",
        ),
    ] = None,
    password: StorePassword = None,
) -> Response:
    """A version as a file."""
    if password is not None:
        _check_password(password)
    certificate = await services(request).database.read(
        lambda connection: load_certificate(connection, certificate_id)
    )
    version = certificate.version
    if version_id is not None:
        version = await use_cases(request).revocations.version(certificate_id, version_id)
    if version is None:
        raise _not_issued(certificate)
    content = await asyncio.to_thread(_content, version, format, password or DEFAULT_PASSWORD)
    kind = _KINDS[format]
    disposition = f'attachment; filename="{certificate.id}.{kind.ending}"'
    return Response(
        content, media_type=kind.media_type, headers={"Content-Disposition": disposition}
    )


def _content(version: VersionRecord, file_format: FileFormat, password: str) -> bytes:
    match file_format:
        case FileFormat.PEM:
            return to_pem(version.der).encode()
        case FileFormat.CHAIN:
            return (to_pem(version.der) + version.chain).encode()
        case FileFormat.DER:
            return version.der
        case FileFormat.PKCS7:
            leaf = x509.load_der_x509_certificate(version.der)
            return pkcs7_certificates([leaf, *split_pem_certificates(version.chain)])
        case FileFormat.PKCS12:
            return pkcs12_trust_store(_trusted(version), password)
        case FileFormat.JKS:
            return jks_trust_store(_trusted(version), password, version.created_at)


def _trusted(version: VersionRecord) -> list[x509.Certificate]:
    """The certificates that issued a version; it itself where it issued itself."""
    chain = split_pem_certificates(version.chain)
    if chain:
        return chain
    leaf = x509.load_der_x509_certificate(version.der)
    if leaf.issuer == leaf.subject:
        return [leaf]
    raise Conflict(
        "chain-not-known",
        "the certificates that issued this one are not known here, so there is nothing to trust",
        hint="it was imported without its chain: put the CA's certificates into a trust store "
        "yourself",
    )


def _check_password(password: str) -> None:
    is_visible = password.isascii() and password.isprintable() and " " not in password
    if not is_visible or not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise InvalidInput(
            "store-password-invalid",
            f"a trust store's password is {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} visible "
            "ASCII characters",
            field="X-Store-Password",
            hint=f"leave it out: then it is {DEFAULT_PASSWORD}",
        )


def _not_issued(certificate: CertificateRecord) -> NotFound:
    return NotFound(
        "version-not-found",
        "the CA has not issued this certificate yet",
        hint=f"look at its order: GET /api/v1/orders/{certificate.order_id}",
    )
