"""Certificates and their versions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody
from certctl.schemas.labels import LABELS, Labels
from certctl.schemas.revocations import RevocationView

CsrText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200_000),
    WithJsonSchema({"type": "string", "format": "csr", "minLength": 1, "maxLength": 200_000}),
]
#: Enough for the longest RSA key that is certified, with its line ends.
KeySignatureText = Annotated[str, StringConstraints(min_length=1, max_length=2_048)]
NameText = Annotated[str, StringConstraints(max_length=2_048)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=80)]

CertificateStatus = Literal["pending", "issued", "failed", "expired", "revoked", "archived"]
CertificateSort = Literal["created_at", "-created_at", "not_after", "-not_after"]


class CertificateCreate(RequestBody):
    """A request for a certificate. The private key stays where the CSR was made."""

    issuer_id: Reference = Field(description="Issuer to ask: its id", examples=["iss-local"])
    profile_id: Reference = Field(
        default="prof-tls-server", description="Profile to hold the request against"
    )
    csr: CsrText = Field(description="PKCS#10 request: PEM, or base64 of its DER")
    key_signature: KeySignatureText | None = Field(
        default=None,
        description="Base64 of a signature over the DER of the CSR's SubjectPublicKeyInfo, made "
        "with its private key and SHA-256 (RSA with PKCS#1 v1.5, or ECDSA in DER), for accounts at "
        "CAs that take it in place of the CSR",
    )
    names: list[NameText] | None = Field(
        default=None,
        max_length=1_000,
        description="Names to certify: `www.example.org`, `10.0.0.1`, `user@example.org`, "
        "`spiffe://…`, or with their kind in front (`dns:`, `ip:`, `email:`, `uri:`). "
        "Default: those in the CSR. Every name in the CSR must be listed.",
        examples=[["www.example.org", "10.0.0.1"]],
    )
    validity_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Lifetime; default: the profile's"
    )
    owner: Label | None = Field(default=None, description="Who looks after it")
    labels: Labels | None = Field(default=None, description=LABELS, examples=[{"env": "prod"}])


class RenewRequest(RequestBody):
    """A request for the next version of a certificate, for the same names."""

    csr: CsrText | None = Field(
        default=None,
        description="A CSR with a new key, as PEM or base64 of its DER. Default: the CSR that the "
        "newest version was made from, where the profile allows its key to be used again",
    )
    key_signature: KeySignatureText | None = Field(
        default=None,
        description="The signature that goes with `csr`, as when ordering. Without `csr`, the one "
        "that came with the newest version's CSR is used again",
    )
    validity_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Lifetime; default: the profile's"
    )


class VersionView(ResponseBody):
    """One X.509 certificate that a CA issued."""

    id: str
    serial: str = Field(description="Lower-case hex, no separators, no leading zeros")
    not_before: Moment
    not_after: Moment
    certificate: str = Field(description="PEM")
    chain: str = Field(description="PEM of the issuers, from the leaf's own issuer upwards")
    revocation: RevocationView | None = Field(description="null while it has not been revoked")


class CertificateView(ResponseBody):
    """A managed certificate with its newest version (null until the CA issued one)."""

    id: str
    status: CertificateStatus
    issuer_id: str
    profile_id: str
    common_name: str | None
    names: list[str]
    owner: str | None
    labels: dict[str, str]
    order_id: str | None = Field(description="The newest order; null for an imported one")
    version: VersionView | None
    renew_at: Moment | None = Field(description="When it should be renewed; null for never")
    archived_at: Moment | None = Field(description="Since when it is archived; null: it is not")
    created_at: Moment
    updated_at: Moment


class CertificateSummary(ResponseBody):
    """A row of the inventory."""

    id: str
    status: CertificateStatus
    issuer_id: str
    profile_id: str
    common_name: str | None
    names: list[str]
    owner: str | None
    serial: str | None
    not_after: Moment | None
    renew_at: Moment | None
    created_at: Moment
