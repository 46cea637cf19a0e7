"""A signing CA: one key, one certificate, and the leaves that it issues."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from certctl.ca.extensions import (
    CRL_SHARDS,
    NO_STATUS_BELOW,
    Extension,
    authority_information,
    crl_distribution_points,
    extension,
    leaf_extensions,
    no_status,
    root_extensions,
)
from certctl.domain.clock import to_ms
from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.domain.profiles import SECONDS_PER_DAY
from certctl.domain.serials import new_serial
from certctl.pki.general_names import general_name
from certctl.pki.keys import PrivateKey, SubjectKey, generate_key, spki_of, subject_key_identifier
from certctl.pki.usages import USAGE_OF_OID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.ca.extensions import StatusAddresses
    from certctl.domain.names import Name
    from certctl.domain.usages import Usage

#: A certificate begins this many seconds in the past, so that clocks that are behind accept it.
BACKDATE = 300

SigningHash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

_Signed_co = TypeVar("_Signed_co", covariant=True)


class Builder(Protocol[_Signed_co]):
    """What the library's builders of certificates, CRLs and OCSP answers have in common."""

    def sign(self, private_key: PrivateKey, algorithm: SigningHash | None, /) -> _Signed_co:
        """Sign what was built."""
        ...


class CertificateAuthority:
    """A key and its CA certificate; what every leaf has in common is prepared once.

    `parents` are the certificates above the CA's own, nearest first; the root may be left out.
    `status` says where the status of its leaves is told, None that it is told nowhere. Nothing is
    checked here: `ca.files` does that for what an operator brings.
    """

    def __init__(
        self,
        key: PrivateKey,
        certificate: x509.Certificate,
        parents: tuple[x509.Certificate, ...] = (),
        status: StatusAddresses | None = None,
    ) -> None:
        self._key = key
        self._hash = signing_hash(key)
        self._issuer = certificate.subject
        self._not_before = int(certificate.not_valid_before_utc.timestamp())
        self._not_after = int(certificate.not_valid_after_utc.timestamp())
        self._key_usage = _key_usage_of(certificate)
        self._fixed: dict[tuple[tuple[Usage, ...], bool, bool], list[Extension]] = {}
        self._no_status = [no_status()]
        self._status = self._prepared_status(status)
        self.certificate = certificate
        self.authority_key = extension(_authority_key_identifier(certificate))
        self.chain = (certificate, *parents)
        self.not_after_ms = to_ms(certificate.not_valid_after_utc)
        self.usages = _usages_of(certificate)

    @property
    def signs_crl(self) -> bool:
        """Whether the CA's certificate allows CRLs (RFC 5280 §4.2.1.3, cRLSign)."""
        return self._key_usage is None or self._key_usage.crl_sign

    @property
    def signs_data(self) -> bool:
        """Whether it allows signatures over anything else, OCSP answers among them."""
        return self._key_usage is None or self._key_usage.digital_signature

    def sign(self, builder: Builder[_Signed_co]) -> _Signed_co:
        """Sign with the CA's key and the hash that goes with it."""
        return builder.sign(self._key, self._hash)

    def issue(
        self,
        *,
        public_key: SubjectKey,
        spki: bytes,
        key_type: KeyType,
        common_name: str | None,
        names: Sequence[Name],
        usages: tuple[Usage, ...],
        validity_seconds: int,
        must_staple: bool,
        now_ms: int,
        serial: int | None = None,
    ) -> x509.Certificate:
        """Sign a leaf for a key and names that were checked before (RFC 5280 §4.1, §4.2).

        It lasts `validity_seconds`, counting both the first and the last second (§4.1.2.5), from
        BACKDATE seconds before `now_ms` (milliseconds), but never beyond the CA's own certificate.
        Without a common name the subject is empty and subjectAltName critical (§4.2.1.6). What
        lasts less than NO_STATUS_BELOW says noRevAvail (RFC 9608); all else says where its status
        is told, if that is anywhere.

        Raises Misconfigured (`ca-expired`) when the CA's certificate is over, ValueError when there
        is neither a name nor a common name, and for must-staple in what has no status to staple.
        """
        now = now_ms // 1000
        if now > self._not_after:
            raise Misconfigured(
                "ca-expired",
                "the CA's own certificate has expired",
                hint="renew the CA's certificate, or configure another CA",
            )
        if not names and not common_name:
            raise ValueError("a certificate needs a name")
        not_before = max(now - BACKDATE, self._not_before)
        not_after = min(not_before + validity_seconds - 1, self._not_after)
        short = not_after - not_before + 1 < NO_STATUS_BELOW
        if short and must_staple:
            raise ValueError("must-staple needs a status to staple")
        serial_number = new_serial() if serial is None else serial
        extensions = [
            *self._prepared(usages, rsa=key_type is KeyType.RSA, must_staple=must_staple),
            extension(x509.SubjectKeyIdentifier(subject_key_identifier(spki))),
            self.authority_key,
            *(self._no_status if short else self._status[serial_number % CRL_SHARDS]),
        ]
        if names:
            alternative = x509.SubjectAlternativeName([general_name(name) for name in names])
            extensions.append(extension(alternative, critical=not common_name))
        # All in one call: the builder's methods copy it, and its list of extensions, each time.
        return self.sign(
            x509.CertificateBuilder(
                issuer_name=self._issuer,
                subject_name=subject(common_name) if common_name else _NOBODY,
                public_key=public_key,
                serial_number=serial_number,
                not_valid_before=datetime.fromtimestamp(not_before, UTC),
                not_valid_after=datetime.fromtimestamp(not_after, UTC),
                extensions=extensions,
            )
        )

    def _prepared(
        self, usages: tuple[Usage, ...], *, rsa: bool, must_staple: bool
    ) -> list[Extension]:
        combination = (usages, rsa, must_staple)
        found = self._fixed.get(combination)
        if found is None:
            found = leaf_extensions(usages, rsa=rsa, must_staple=must_staple)
            self._fixed[combination] = found
        return found

    def _prepared_status(self, status: StatusAddresses | None) -> list[list[Extension]]:
        """For each shard what its leaves say about their status."""
        if status is None:
            return [[]] * CRL_SHARDS
        access = authority_information(status)
        if not self.signs_crl:
            return [[access]] * CRL_SHARDS
        return [[access, points] for points in crl_distribution_points(status)]


def create_root(
    *,
    common_name: str,
    key_type: KeyType = KeyType.P256,
    now_ms: int,
    lifetime_days: int = 3650,
) -> tuple[PrivateKey, x509.Certificate]:
    """Make a key and a self-signed root for it, valid from BACKDATE seconds before `now_ms`."""
    key = generate_key(key_type)
    name = subject(common_name)
    not_before = now_ms // 1000 - BACKDATE
    not_after = not_before + lifetime_days * SECONDS_PER_DAY - 1
    certificate = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=new_serial(),
        not_valid_before=datetime.fromtimestamp(not_before, UTC),
        not_valid_after=datetime.fromtimestamp(not_after, UTC),
        extensions=root_extensions(subject_key_identifier(spki_of(key.public_key()))),
    ).sign(key, signing_hash(key))
    return key, certificate


def signing_hash(key: PrivateKey) -> SigningHash | None:
    """The hash that goes with a CA key (RFC 5480 §4 matches it to the curve); None for EdDSA."""
    match key:
        case ec.EllipticCurvePrivateKey() if key.key_size > 384:  # noqa: PLR2004 - P-521
            return hashes.SHA512()
        case ec.EllipticCurvePrivateKey() if key.key_size > 256:  # noqa: PLR2004 - P-384
            return hashes.SHA384()
        case ec.EllipticCurvePrivateKey() | rsa.RSAPrivateKey():
            return hashes.SHA256()
        case _:
            return None


def subject(common_name: str) -> x509.Name:
    """A distinguished name with a common name (RFC 5280 §4.1.2.6, UTF8String) and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


_NOBODY = x509.Name([])


def _authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    # RFC 5280 §4.2.1.1: the identifier that the CA's certificate states, however it was computed.
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        identifier = found.value.digest
    except x509.ExtensionNotFound:
        identifier = subject_key_identifier(spki_of(certificate.public_key()))
    return x509.AuthorityKeyIdentifier(identifier, None, None)


def _key_usage_of(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """What a CA's key may do, None for everything."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _usages_of(certificate: x509.Certificate) -> frozenset[Usage] | None:
    """The usages that a CA's certificate limits its leaves to, None for no limit."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return None
    if x509.oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found.value:
        return None
    return frozenset(USAGE_OF_OID[oid] for oid in found.value if oid in USAGE_OF_OID)
