"""A request becomes an order, and where the CA is our own, a certificate at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.connectors.contract import IssuanceRequest, IssuedCertificate
from certctl.connectors.errors import IssuerError, Refused
from certctl.domain import errors
from certctl.domain.audit import AuditEvent
from certctl.domain.ids import new_id, sibling_id
from certctl.domain.names import parse_names
from certctl.domain.orders import IDEMPOTENCY_MS, OrderState, Recovery
from certctl.domain.profiles import check_key, check_names, check_profile_fits, validity_for
from certctl.domain.requests import settle_names
from certctl.lifecycle.requests import encode_request
from certctl.lifecycle.versions import version_record
from certctl.pki.requests import parse_request
from certctl.storage.certificates import (
    CertificateRecord,
    VersionRecord,
    certificate_rows,
    get_certificate,
    version_rows,
)
from certctl.storage.database import Duplicate
from certctl.storage.orders import (
    IdempotencyRecord,
    OrderRecord,
    find_idempotency_key,
    forget_idempotency_keys,
    get_order,
    idempotency_row,
    order_row,
)

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector
    from certctl.domain.clock import Clock
    from certctl.domain.profiles import Profile
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.storage.database import Connection, Database, Transaction


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What a client asks for, as it came."""

    issuer_id: str
    profile_id: str
    csr: str
    names: tuple[str, ...] | None = None
    validity_days: int | None = None
    owner: str | None = None

    def fingerprint(self) -> str:
        """SHA-256 that is equal for equal requests."""
        fields = (
            self.issuer_id,
            self.profile_id,
            self.csr,
            self.names,
            self.validity_days,
            self.owner,
        )
        return hashlib.sha256(repr(fields).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The certificate that a request led to, and how far its order is."""

    certificate: CertificateRecord
    order_id: str
    order_state: OrderState


class Enrolment:
    """Takes requests for certificates."""

    def __init__(
        self, database: Database, catalog: Catalog, clock: Clock, scheduler: Scheduler
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._scheduler = scheduler

    async def enrol(
        self, actor: Actor, request: EnrolmentRequest, *, idempotency_key: str | None = None
    ) -> Enrolled:
        """Take a request; what is returned is durable.

        With an `idempotency_key` that this actor used in the last 24 hours, the order made then is
        answered in its present state; for another request the key is InvalidInput. Raises
        InvalidInput, Refused (our own CA said no) or Unavailable; nothing is stored then.
        """
        if idempotency_key is None:
            return await self._enrol(actor, request, None)
        # First use is the rule, so the key is not looked up before: the unique constraint tells.
        try:
            return await self._enrol(actor, request, idempotency_key)
        except errors.Unavailable:
            raise
        except (Duplicate, errors.CertctlError) as error:
            found = await self._replay(actor, request, idempotency_key)
            if found is not None:
                return found
            if not isinstance(error, Duplicate):
                raise
        # Only a key past its 24 hours is a duplicate that leads to no order.
        await self._database.write(self._forget_old_keys)
        return await self._enrol(actor, request, idempotency_key)

    async def _enrol(
        self, actor: Actor, request: EnrolmentRequest, idempotency_key: str | None
    ) -> Enrolled:
        issuer, connector = self._catalog.usable_issuer(request.issuer_id)
        profile = self._catalog.usable_profile(request.profile_id)
        now = self._clock.now_ms()
        order_id = new_id("ord", now)
        issuance = self._settle(request, profile, connector, order_id, now)
        certificate_id = sibling_id("cert", order_id)
        version: VersionRecord | None = None
        if connector.recovery is Recovery.INTERNAL:
            version = version_record(
                await _issue_now(connector, issuance),
                certificate_id=certificate_id,
                issuer_id=issuer.id,
                order_id=order_id,
                now_ms=now,
            )
        order = OrderRecord(
            id=order_id,
            certificate_id=certificate_id,
            issuer_id=issuer.id,
            state=OrderState.READY if version is None else OrderState.ISSUED,
            csr=issuance.csr.der,
            request=encode_request(issuance),
            reference=None,
            version_id=None if version is None else version.id,
            problem=None,
            attempts=0,
            accepted_at=None,
            due_at=now if version is None else None,
            epoch=0,
            created_at=now,
            updated_at=now,
        )
        rows = certificate_rows(
            certificate_id=certificate_id,
            issuer_id=issuer.id,
            profile_id=profile.id,
            owner=request.owner,
            common_name=issuance.common_name,
            names=issuance.names,
            version=version,
            now_ms=now,
        )
        rows.append(order_row(order))
        if version is not None:
            rows += version_rows(version)
        if idempotency_key is not None:
            record = IdempotencyRecord(request.fingerprint(), order_id, now)
            rows.append(idempotency_row(actor.id, idempotency_key, record))
        event = AuditEvent(
            at_ms=now,
            actor=actor.id,
            action="certificate.ordered" if version is None else "certificate.issued",
            object_type="certificate",
            object_id=certificate_id,
            detail={"order_id": order_id, "issuer_id": issuer.id, "profile_id": profile.id}
            if version is None
            else {
                "order_id": order_id,
                "issuer_id": issuer.id,
                "profile_id": profile.id,
                "serial": version.serial,
            },
        )
        await self._database.append(rows, (event,))
        if version is None:
            self._scheduler.wake()
        certificate = CertificateRecord(
            id=certificate_id,
            issuer_id=issuer.id,
            profile_id=profile.id,
            owner=request.owner,
            common_name=issuance.common_name,
            names=[str(name) for name in issuance.names],
            status="pending" if version is None else "issued",
            not_after=None if version is None else version.not_after,
            created_at=now,
            updated_at=now,
            version=version,
            order_id=order_id,
        )
        return Enrolled(certificate, order_id, order.state)

    def _settle(
        self,
        request: EnrolmentRequest,
        profile: Profile,
        connector: Connector,
        order_id: str,
        now_ms: int,
    ) -> IssuanceRequest:
        """Hold a request against the profile and the connector; raises InvalidInput."""
        abilities = connector.abilities
        check_profile_fits(profile, abilities)
        csr = parse_request(request.csr)
        check_key(profile, abilities, csr.key_type, csr.key_bits)
        if csr.usages is not None and not set(csr.usages) <= set(profile.usages):
            raise errors.InvalidInput(
                "usage-not-allowed",
                "the CSR asks for an extended key usage that this profile does not give",
                field="csr",
                hint="make the CSR without it, or choose a profile with that usage",
            )
        listed = None if request.names is None else parse_names(request.names)
        names = settle_names(csr.names, csr.common_name, listed)
        check_names(profile, abilities, names, csr.common_name)
        return IssuanceRequest(
            order_id=order_id,
            csr=csr,
            common_name=csr.common_name,
            names=names,
            usages=profile.usages,
            validity=validity_for(profile, abilities, request.validity_days, now_ms),
            must_staple=profile.must_staple,
        )

    async def _replay(
        self, actor: Actor, request: EnrolmentRequest, idempotency_key: str
    ) -> Enrolled | None:
        """The present state of the order that this key led to; None if there is none."""
        oldest = self._clock.now_ms() - IDEMPOTENCY_MS

        def load(connection: Connection) -> tuple[IdempotencyRecord, Enrolled] | None:
            record = find_idempotency_key(connection, actor.id, idempotency_key)
            if record is None or record.created_at <= oldest:
                return None
            return record, load_enrolled(connection, record.order_id)

        found = await self._database.read(load)
        if found is None:
            return None
        record, enrolled = found
        if record.request_hash != request.fingerprint():
            raise errors.InvalidInput(
                "idempotency-key-reused",
                "this Idempotency-Key was used for another request within the last 24 hours",
                field="Idempotency-Key",
                hint="use a new key for every new request",
            )
        return enrolled

    def _forget_old_keys(self, transaction: Transaction) -> None:
        forget_idempotency_keys(transaction, self._clock.now_ms() - IDEMPOTENCY_MS)


async def _issue_now(connector: Connector, issuance: IssuanceRequest) -> IssuedCertificate:
    """Issue at a CA of class `internal`: it answers at once, and its no is the client's error."""
    try:
        answer = await connector.issue(issuance)
    except Refused as error:
        raise errors.Refused("refused-by-issuer", error.detail) from None
    except IssuerError as error:
        raise errors.Unavailable("issuer-not-ready", error.detail) from None
    if not isinstance(answer, IssuedCertificate):
        raise TypeError("a connector of class `internal` answers at once")
    return answer


def load_enrolled(connection: Connection, order_id: str) -> Enrolled:
    """The present state of an order and its certificate."""
    order = get_order(connection, order_id)
    certificate = None if order is None else get_certificate(connection, order.certificate_id)
    if order is None or certificate is None:
        raise errors.NotFound("order-not-found", "there is no order of that id")
    return Enrolled(certificate, order.id, order.state)
