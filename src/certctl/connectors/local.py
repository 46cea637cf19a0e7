"""The Local CA: signs with a key of our own, and asks nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Self, cast

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import Field, SecretStr, field_validator, model_validator

from certctl.ca.authority import CertificateAuthority, create_root
from certctl.ca.crl import sign_crl
from certctl.ca.extensions import NO_STATUS_BELOW, StatusAddresses
from certctl.ca.files import load_sub_ca
from certctl.ca.ocsp import OcspSigner
from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import (
    CheckResult,
    ConnectorContext,
    ConnectorType,
    IssuanceRequest,
    IssuedCertificate,
    RevocationRequest,
    Revoked,
)
from certctl.connectors.errors import Misconfigured, Refused
from certctl.domain import errors as domain_errors
from certctl.domain.orders import Recovery
from certctl.domain.profiles import SECONDS_PER_DAY, Abilities
from certctl.domain.usages import Usage
from certctl.pki.certificates import split_pem_certificates, to_pem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

    from certctl.ca.crl import CrlEntry
    from certctl.pki.keys import PrivateKey

_ROOT = "root"


class LocalConfig(ConnectorConfig):
    """Settings of the Local CA: with files it is a sub-CA of yours, without it is its own root."""

    env_prefix: ClassVar[str] = "CERTCTL_CA_"

    common_name: str = Field(
        default="certctl Local CA",
        min_length=1,
        max_length=64,
        description="Name of the self-signed root, given to it when it is made",
    )
    validity_days: int = Field(
        default=397, ge=1, le=36_500, description="Longest lifetime of a certificate, in days"
    )
    cert_path: str | None = Field(
        default=None,
        min_length=1,
        description="PEM file with the CA's certificate, then its issuers upwards",
    )
    key_path: str | None = Field(
        default=None,
        min_length=1,
        description="PEM file with the CA's private key, readable by its owner only",
    )
    key_password: SecretStr | None = Field(
        default=None, description="Password of the private key, if it is encrypted"
    )
    crl_validity_hours: int = Field(
        default=24,
        ge=1,
        le=8_760,
        description="How long a CRL may be used; a new one is made at half of it, and when "
        "something is revoked",
    )
    ocsp_validity_hours: int = Field(
        default=12, ge=1, le=720, description="How long an OCSP answer may be used"
    )

    @field_validator("common_name")
    @classmethod
    def _is_printable(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError("the common name is blank or has a control or invisible character")
        return value

    @model_validator(mode="after")
    def _files_go_together(self) -> Self:
        if (self.cert_path is None) != (self.key_path is None):
            raise ValueError("cert_path and key_path go together: set both or neither")
        if self.key_password is not None and self.key_path is None:
            raise ValueError("key_password is set without key_path")
        return self


class LocalConnector:
    """Issues from a CA in this process; an order is one transaction and never waits."""

    recovery = Recovery.INTERNAL

    def __init__(
        self, authority: CertificateAuthority, config: LocalConfig, context: ConnectorContext
    ) -> None:
        self._authority = authority
        self._clock = context.clock
        self.crl_validity = config.crl_validity_hours * 3600 if authority.signs_crl else 0
        self.ocsp_validity = config.ocsp_validity_hours * 3600
        self.abilities = Abilities(
            usages=frozenset(Usage) if authority.usages is None else authority.usages,
            # A client that insists on a stapled answer needs a responder that can be found.
            must_staple=context.status_url is not None,
            max_validity=config.validity_days * SECONDS_PER_DAY,
            not_after_ms=authority.not_after_ms,
            hold=True,
        )

    async def issue(self, request: IssuanceRequest) -> IssuedCertificate:
        """Sign at once. Raises Misconfigured when the CA itself has expired."""
        csr = request.csr
        if request.must_staple and request.validity < NO_STATUS_BELOW:
            raise Refused(
                "must-staple needs a lifetime of an hour: below it there is no OCSP answer"
            )
        try:
            certificate = self._authority.issue(
                public_key=csr.public_key,
                spki=csr.spki,
                key_type=csr.key_type,
                common_name=request.common_name,
                names=request.names,
                usages=request.usages,
                validity_seconds=request.validity,
                must_staple=request.must_staple,
                now_ms=self._clock.now_ms(),
            )
        except domain_errors.Misconfigured as error:
            raise _misconfigured(error) from error
        except ValueError as error:
            raise Refused("the request cannot be encoded as a certificate") from error
        return IssuedCertificate(certificate, self._authority.chain)

    async def revoke(self, request: RevocationRequest) -> Revoked:
        """Nothing to tell anybody: what is recorded is what CRL and OCSP say."""
        del request
        return Revoked()

    async def release(self, request: RevocationRequest) -> Revoked:
        """As with `revoke`."""
        del request
        return Revoked()

    async def check(self) -> CheckResult:
        """Say who signs and until when; raises Misconfigured when that time is over."""
        certificate = self._authority.certificate
        until = certificate.not_valid_after_utc
        if self._clock.now_ms() > self._authority.not_after_ms:
            raise Misconfigured("the CA's own certificate has expired", code="ca-expired")
        name = certificate.subject.rfc4514_string()
        return CheckResult(None, f"{name} signs until {until:%Y-%m-%d %H:%M:%S} UTC")

    def chain(self) -> tuple[x509.Certificate, ...]:
        """The signing CA's certificate, then its issuers upwards."""
        return self._authority.chain

    def sign_crl(
        self, entries: Iterable[CrlEntry], *, number: int, this_update_ms: int, next_update_ms: int
    ) -> bytes:
        """DER of a CRL; times in milliseconds. Raises Misconfigured."""
        try:
            return sign_crl(
                self._authority,
                entries,
                number=number,
                this_update_ms=this_update_ms,
                next_update_ms=next_update_ms,
            )
        except domain_errors.Misconfigured as error:
            raise _misconfigured(error) from error

    def ocsp_signer(self, now_ms: int) -> OcspSigner:
        """Make a new signer of OCSP answers. Raises Misconfigured when the CA has expired."""
        try:
            return OcspSigner(self._authority, now_ms)
        except domain_errors.Misconfigured as error:
            raise _misconfigured(error) from error


async def build_local(config: LocalConfig, context: ConnectorContext) -> LocalConnector:
    """Read the operator's CA from its files, or make a root once and keep it in the state.

    Raises `connectors.errors.Misconfigured` for files that cannot be used.
    """
    if config.cert_path is not None and config.key_path is not None:
        secret = config.key_password
        password = None if secret is None else secret.get_secret_value()
        try:
            # In a thread: a password may cost a second of key derivation.
            authority = await asyncio.to_thread(
                load_sub_ca,
                config.cert_path,
                config.key_path,
                password,
                context.clock.now_ms(),
                _status_addresses(context),
            )
        except domain_errors.Misconfigured as error:
            raise _misconfigured(error) from error
    else:
        authority = await _own_root(config.common_name, context)
    return LocalConnector(authority, config, context)


def _status_addresses(context: ConnectorContext) -> StatusAddresses | None:
    if context.status_url is None:
        return None
    base, issuer_id = f"{context.status_url}/.well-known/pki", context.issuer_id
    return StatusAddresses(
        crl=f"{base}/crl/{issuer_id}", ocsp=f"{base}/ocsp/{issuer_id}", ca=f"{base}/ca/{issuer_id}"
    )


async def _own_root(common_name: str, context: ConnectorContext) -> CertificateAuthority:
    kept = await context.state.get(_ROOT)
    if kept is None:
        key, certificate = create_root(common_name=common_name, now_ms=context.clock.now_ms())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # One value, so that a key never stands without its certificate; and of two processes that
        # start for the first time, both use the root that came first.
        kept = await context.state.put_if_absent(_ROOT, pem + to_pem(certificate).encode("ascii"))
    return CertificateAuthority(
        # The state is sealed and holds only what this function put there.
        cast("PrivateKey", load_pem_private_key(kept, None)),
        split_pem_certificates(kept.decode("ascii"))[0],
        status=_status_addresses(context),
    )


def _misconfigured(error: domain_errors.Misconfigured) -> Misconfigured:
    words = error.detail if error.hint is None else f"{error.detail} ({error.hint})"
    return Misconfigured(words, code=error.code)


CONNECTOR = ConnectorType(
    name="GenericCA",
    aliases=("local", "local_ca"),
    title="Local CA",
    issuer_id="iss-local",
    config=LocalConfig,
    factory=build_local,
)
