"""A request becomes an order, and where the CA is our own, a certificate at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict
from certctl.domain.ids import new_id, sibling_id
from certctl.domain.names import parse_names
from certctl.domain.orders import OrderState, Recovery
from certctl.domain.profiles import check_issuer, check_profile_fits
from certctl.domain.renewal import renewal_time
from certctl.domain.requests import settle_names
from certctl.lifecycle.idempotency import Enrolled, IdempotencyKey, once
from certctl.lifecycle.issuance import check_csr, issuance_request, issue_now
from certctl.lifecycle.permissions import check_chosen, check_names
from certctl.lifecycle.requests import encode_request
from certctl.lifecycle.versions import version_record
from certctl.pki.key_signatures import parse_key_signature
from certctl.pki.requests import parse_request
from certctl.storage.certificates import CertificateRecord, certificate_rows
from certctl.storage.database import Duplicate
from certctl.storage.orders import OrderRecord, order_row
from certctl.storage.versions import VersionRecord, version_rows

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuanceRequest
    from certctl.domain.clock import Clock
    from certctl.domain.profiles import Abilities, Profile
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.lifecycle.tally import Tally
    from certctl.storage.database import Database


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What a client asks for, as it came."""

    issuer_id: str
    profile_id: str
    csr: str
    names: tuple[str, ...] | None = None
    validity_days: int | None = None
    owner: str | None = None
    key_signature: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 that is equal for equal requests."""
        fields: tuple[object, ...] = (
            self.issuer_id,
            self.profile_id,
            self.csr,
            self.names,
            self.validity_days,
            self.owner,
        )
        if self.key_signature is not None:  # else it is the hash that earlier versions stored
            fields += (self.key_signature,)
        if self.labels:
            fields += (self.labels,)
        return hashlib.sha256(repr(fields).encode("utf-8", "surrogatepass")).hexdigest()


class Enrolment:
    """Takes requests for certificates."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        scheduler: Scheduler,
        tally: Tally,
    ) -> None:
        self._tally = tally
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
        InvalidInput, Forbidden (names out of scope), Refused (our own CA said no) or Unavailable;
        nothing is stored then.
        """
        key = None
        if idempotency_key is not None:
            key = IdempotencyKey(actor.id, idempotency_key, request.fingerprint())
        return await once(
            self._database, self._clock, key, partial(self._enrol, actor, request, key)
        )

    async def _enrol(
        self, actor: Actor, request: EnrolmentRequest, key: IdempotencyKey | None
    ) -> Enrolled:
        check_chosen(actor, request.issuer_id, request.profile_id)
        if not self._catalog.knows(request.issuer_id, request.profile_id):
            await self._catalog.refresh()  # another process may have made it just now
        issuer, connector = self._catalog.usable_issuer(request.issuer_id)
        profile = self._catalog.usable_profile(request.profile_id)
        now = self._clock.now_ms()
        order_id = new_id("ord", now)
        issuance = _settle(
            actor, request, profile, connector.abilities, order_id=order_id, now_ms=now
        )
        certificate_id = sibling_id("cert", order_id)
        version: VersionRecord | None = None
        renew_at: int | None = None
        if connector.recovery is Recovery.INTERNAL:
            version = version_record(
                await issue_now(issuer.id, connector, issuance, self._tally),
                certificate_id=certificate_id,
                issuer_id=issuer.id,
                order_id=order_id,
                now_ms=now,
            )
            renew_at = renewal_time(certificate_id, version.not_before, version.not_after)
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
            renew_at=renew_at,
            now_ms=now,
            labels=dict(request.labels),
        )
        rows.append(order_row(order))
        if version is not None:
            rows += version_rows(version)
        if key is not None:
            rows.append(key.row(order_id, now))
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
        try:
            await self._database.append(rows, (event,))
        except Duplicate as error:
            if error.is_of_reference:
                raise _gone_meanwhile() from None
            raise
        self._tally.order(None, order)
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
            renew_at=renew_at,
            created_at=now,
            updated_at=now,
            version=version,
            order_id=order_id,
            labels=dict(request.labels),
        )
        return Enrolled(certificate, order_id, order.state)


def _gone_meanwhile() -> Conflict:
    return Conflict(
        "issuer-or-profile-gone",
        "the issuer or the profile was deleted in this moment: nothing was stored",
        hint="choose another one: GET /api/v1/issuers, GET /api/v1/profiles",
    )


def _settle(
    actor: Actor,
    request: EnrolmentRequest,
    profile: Profile,
    abilities: Abilities,
    *,
    order_id: str,
    now_ms: int,
) -> IssuanceRequest:
    """Hold a request against the caller's scope, the profile and the connector.

    Raises Forbidden, InvalidInput.
    """
    check_issuer(profile, request.issuer_id)
    check_profile_fits(profile, abilities)
    csr = parse_request(request.csr)
    check_csr(profile, abilities, csr)
    signature = request.key_signature
    listed = None if request.names is None else parse_names(request.names)
    names = settle_names(csr.names, csr.common_name, listed)
    check_names(actor, names, csr.common_name)
    return issuance_request(
        profile,
        abilities,
        csr,
        order_id=order_id,
        names=names,
        common_name=csr.common_name,
        validity_days=request.validity_days,
        now_ms=now_ms,
        key_signature=None if signature is None else parse_key_signature(signature, csr),
    )
