"""What a connector is: three required methods, and optional capabilities as small protocols.

A connector is built by its factory from its config model and a `ConnectorContext`; it sees no
storage and no HTTP server. One connector object belongs to one revision of one issuer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509

    from certctl.ca.crl import CrlEntry
    from certctl.ca.ocsp import OcspSigner
    from certctl.connectors.config import ConnectorConfig
    from certctl.connectors.transport import Transports
    from certctl.domain.clock import Clock
    from certctl.domain.names import Name
    from certctl.domain.orders import Recovery
    from certctl.domain.profiles import Abilities
    from certctl.domain.revocations import RevocationReason
    from certctl.domain.usages import Usage
    from certctl.pki.requests import CertificateRequest

#: What the CA calls an order or a certificate: small, JSON, kept with both.
Reference = dict[str, Any]


@dataclass(frozen=True, slots=True)
class IssuanceRequest:
    """One request for one certificate, already held against the profile. Lifetime in seconds."""

    order_id: str
    csr: CertificateRequest
    common_name: str | None
    names: tuple[Name, ...]
    usages: tuple[Usage, ...]
    validity: int
    must_staple: bool
    #: Over the DER of the CSR's SubjectPublicKeyInfo, by its key with SHA-256 (RSA PKCS#1 v1.5, or
    #: ECDSA in DER), where the customer sent one along: some CAs want it instead of the CSR.
    key_signature: bytes | None = None
    #: When it was noted that it is sent to the CA, in milliseconds: the same for a submission and
    #: for the look-ups after it, in whatever process. None for a poll.
    submitted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """The version that a renewal comes after: valid, and not revoked. As for a revocation."""

    certificate: x509.Certificate
    reference: Reference


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate, and its issuers' certificates upwards (the root may be left out)."""

    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]
    reference: Reference = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """The CA accepted the order and works on it. `retry_after` in seconds where the CA said so."""

    reference: Reference
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """A version to be revoked, or released from a hold. `reference` is what the CA calls it."""

    certificate: x509.Certificate
    reference: Reference
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class Revoked:
    """The CA says that it is done, or that it was done before."""

    reference: Reference = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RevocationPending:
    """The CA took it and works on it (an approval, say). `retry_after` in seconds."""

    reference: Reference
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A successful look at the CA: which host answered (None for our own), and what it said."""

    host: str | None
    detail: str


class Connector(Protocol):
    """One type of certificate authority. Every method raises `IssuerError` and nothing else."""

    @property
    def recovery(self) -> Recovery:
        """How a lost answer to `issue` is recovered."""
        ...

    @property
    def abilities(self) -> Abilities:
        """What this issuer can put into a certificate."""
        ...

    async def issue(self, request: IssuanceRequest) -> IssuedCertificate | Pending:
        """Ask the CA for a certificate."""
        ...

    async def revoke(self, request: RevocationRequest) -> Revoked | RevocationPending:
        """Tell the CA that a certificate is invalid.

        May be called again for the same certificate, when an answer was lost: a CA that says that
        it is revoked already has answered `Revoked`.
        """
        ...

    async def check(self) -> CheckResult:
        """Make a real, cheap, read-only call that proves address and credentials."""
        ...


@runtime_checkable
class Polls(Protocol):
    """The CA answers later."""

    @property
    def poll_max_wait(self) -> float:
        """How long a burst of polls lasts before the order is parked, in seconds."""
        ...

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        """Ask what became of an order."""
        ...


@runtime_checkable
class Renews(Protocol):
    """The CA has a renewal, or a change of key, of its own."""

    async def renew(
        self, request: IssuanceRequest, replaced: Replaced
    ) -> IssuedCertificate | Pending:
        """Ask for the next version of a certificate. In every other respect it is `issue`.

        Where the CA's own way does not lead to what is asked for, that is the connector's to see.
        """
        ...


@runtime_checkable
class Lookup(Protocol):
    """The CA can be asked whether it knows an order whose answer was lost."""

    async def lookup(self, request: IssuanceRequest) -> IssuedCertificate | Pending | None:
        """Find the order by what we sent; None when the CA certainly does not have it."""
        ...


@runtime_checkable
class ListsLate(Protocol):
    """A CA of class `lookup` that may have an order for longer than a minute and not show it."""

    @property
    def listing_delay(self) -> float:
        """After that time, what a look-up does not find was never there; in seconds."""
        ...


@runtime_checkable
class RecoversFor(Protocol):
    """A CA of class `idempotent` that forgets what it was asked: after that time, a repeated
    request is a new one."""

    @property
    def recovery_window(self) -> float | None:
        """How long asking again returns the same certificate, in seconds; None for ever."""
        ...


@runtime_checkable
class PollsRevocations(Protocol):
    """The CA confirms a revocation later."""

    async def poll_revocation(
        self, request: RevocationRequest, reference: Reference
    ) -> Revoked | RevocationPending:
        """Ask what became of a revocation that the CA works on."""
        ...


@runtime_checkable
class ReleasesHolds(Protocol):
    """A certificate that was revoked with `certificateHold` can be made valid again."""

    async def release(self, request: RevocationRequest) -> Revoked | RevocationPending:
        """Tell the CA that the hold has ended; may be called again, like `revoke`."""
        ...


@runtime_checkable
class ExposesChain(Protocol):
    """The issuer's own certificates are known before anything was issued."""

    def chain(self) -> Sequence[x509.Certificate]:
        """The signing CA's certificate first, then its issuers upwards."""
        ...


@runtime_checkable
class SignsStatus(Protocol):
    """The CA's key is ours, and signs its CRL and OCSP answers here."""

    @property
    def crl_validity(self) -> int:
        """How long a CRL may be used, in seconds; 0 where the CA may not sign CRLs."""
        ...

    @property
    def ocsp_validity(self) -> int:
        """How long an OCSP answer may be used, in seconds."""
        ...

    def sign_crl(
        self, entries: Iterable[CrlEntry], *, number: int, this_update_ms: int, next_update_ms: int
    ) -> bytes:
        """DER of a CRL; times in milliseconds. Raises Misconfigured."""
        ...

    def ocsp_signer(self, now_ms: int) -> OcspSigner:
        """Make a new signer of OCSP answers. Raises Misconfigured when the CA has expired."""
        ...


@runtime_checkable
class NamesHost(Protocol):
    """Which host is called is known before it answers, and shown when it does not."""

    @property
    def host(self) -> str:
        """The host, with its port where that is not the usual one."""
        ...


class ConnectorState(Protocol):
    """A small key-value store, sealed, one for each issuer and shared by every process."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        ...

    async def put_if_absent(self, key: str, value: bytes) -> bytes:
        """Store the value unless there is one, and return the one that is there now."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """What the surroundings give a connector."""

    issuer_id: str
    clock: Clock
    state: ConnectorState
    #: Connections to CAs, shared by the whole process and kept when an issuer is swapped.
    transports: Transports
    #: A structlog logger that names the issuer. Whatever is secret stays out of it.
    log: Any
    #: Public address of the status listener, without a slash at its end; None: not to be named.
    status_url: str | None = None


class ConnectorFactory(Protocol):
    """Builds a connector; files are read and keys made or fetched here, once per revision."""

    async def __call__(self, config: Any, context: ConnectorContext) -> Connector:
        """Build it, or raise `Misconfigured`."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectorType:
    """A registered connector: its name, other names it is known by, its settings, its factory.

    `issuer_id` is the issuer that the environment's settings make (`iss-…`), `title` its name.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    issuer_id: str
    config: type[ConnectorConfig]
    factory: ConnectorFactory
